//! Notices about the channel itself.

use std::sync::Arc;

use super::{Applied, Context, InboundRecorder};
use crate::channel::{Channel, ChannelStatus};
use crate::event::{ChannelEventData, ChannelNotice, EventType};
use crate::time::Timestamp;

impl InboundRecorder<'_> {
    pub(super) fn notice(
        &mut self,
        context: Context<'_>,
        notice: &str,
        at: Timestamp,
        detail: serde_json::Value,
    ) -> Applied {
        if notice == "authorization_revoked" {
            self.revoke(context, notice);
            return Applied::New;
        }
        let kind = match notice {
            "inbound_withheld" => EventType::ChannelInboundWithheld,
            _ => EventType::ChannelUpdated,
        };
        let data = ChannelNotice {
            notice: notice.to_owned(),
            detail,
            at,
        };
        self.event(context, kind, None, &data);
        Applied::New
    }

    fn revoke(&mut self, context: Context<'_>, reason: &str) {
        if context.channel.status == ChannelStatus::ReauthorizationRequired {
            return;
        }
        let channel = Channel {
            status: ChannelStatus::ReauthorizationRequired,
            updated_at: context.now,
            ..context.channel.clone()
        };
        let data = ChannelEventData {
            channel: channel.clone().into(),
            reason: Some(reason.to_owned()),
            days_left: None,
        };
        self.event(context, EventType::ChannelReauthorizationRequired, None, &data);
        self.changes.channels.push(channel.clone());
        let known = self.snapshot.channels.entry(channel.app.clone()).or_default();
        known.insert(channel.platform_id.clone(), Arc::new(channel));
    }
}
