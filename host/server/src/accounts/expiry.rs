//! Warnings before a person must authorize a channel again: 30, 7 and 1 days before its credential can no longer be
//! renewed.
//!
//! A warning is emitted when its moment falls between two checks. The checks continue across a restart, since the host
//! stores when it last ran one.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

use weir_domain::channel::{Channel, ChannelStatus};
use weir_domain::event::{ChannelEventData, EventType};
use weir_domain::record::{About, NewEvent};
use weir_domain::time::Timestamp;
use weir_store::StoreError;

use crate::accounts::Accounts;

/// How often all channels are checked; warnings are measured in whole days.
const EVERY: Duration = Duration::from_secs(3_600);
/// Days before the end, the last warning first, since [`due`] returns the last one that is due.
const AHEAD: [u32; 3] = [1, 7, 30];
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// The last warning whose moment is after `from` and not after `to`, in days before `end`.
fn due(end: Timestamp, from: Timestamp, to: Timestamp) -> Option<u32> {
    AHEAD.into_iter().find(|days| {
        let moment = end.before(DAY * *days);
        from < moment && moment <= to
    })
}

impl Accounts {
    /// Emits the warnings whose moment is between the last check and `now`, if that is long enough ago and this node
    /// has the duty. Returns their number.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn warn_round(&self, now: Timestamp, on_duty: bool) -> Result<u32, StoreError> {
        if !on_duty {
            // Another node has the duty. If this one takes over, it may repeat the other's last warnings, but misses
            // none.
            self.checked(now.before(EVERY));
            return Ok(0);
        }
        let Some(from) = self.last_check() else {
            self.checked(now);
            return Ok(0);
        };
        if now.since(from) < EVERY {
            return Ok(0);
        }
        let mut warned = 0;
        let apps = self.core.store.apps().await?;
        let workspaces: BTreeSet<_> = apps.into_iter().map(|app| app.workspace_id).collect();
        for workspace in workspaces {
            for channel in self.core.channels_of(&workspace).await? {
                if self.warn(&channel, from, now).await? {
                    warned += 1;
                }
            }
        }
        self.checked(now);
        Ok(warned)
    }

    /// When channels were last checked for warnings, if known.
    fn last_check(&self) -> Option<Timestamp> {
        *self.last_check.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Channels were checked, or the host was running to check them.
    pub(crate) fn checked(&self, now: Timestamp) {
        *self.last_check.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    async fn warn(&self, channel: &Channel, from: Timestamp, now: Timestamp) -> Result<bool, StoreError> {
        let is_usable = matches!(channel.status, ChannelStatus::Connected | ChannelStatus::Degraded);
        let days = channel.reauthorize_by.and_then(|end| due(end, from, now));
        let (Some(days), true) = (days, is_usable) else {
            return Ok(false);
        };
        let data = ChannelEventData {
            channel: channel.clone().into(),
            reason: None,
            days_left: Some(days),
        };
        let kind = EventType::ChannelReauthorizationRequired;
        let event = NewEvent::of(About::channel(channel), kind, &data);
        self.core.store.append_event(event, now).await?;
        tracing::warn!(channel.id = %channel.id, "The channel {} must be authorized again within {days} days", channel.id);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_given_once_newest_only() {
        let day = |days: u32| Timestamp::default().after(DAY * days);
        let hour = Duration::from_secs(3_600);
        let end = day(100);
        assert_eq!(due(end, day(60), day(69)), None);
        assert_eq!(due(end, day(70).before(hour), day(70)), Some(30));
        assert_eq!(due(end, day(70), day(70).after(hour)), None);
        assert_eq!(due(end, day(92), day(94)), Some(7));
        assert_eq!(due(end, day(60), day(99)), Some(1));
        assert_eq!(due(end, day(99), day(120)), None);
    }
}
