//! How contacts came, and what was found out of it later.

use rusqlite::params;
use weir_domain::id::{ChannelId, ReferralId};
use weir_domain::message::Referral;

use crate::sqlite::conversations::Thread;
use crate::sqlite::db::{Db, get_id, get_json, get_json_if, json, key};
use crate::{AdAnswer, ReferralRecord, Result};

pub(super) fn insert(db: &Db<'_>, thread: &Thread, id: ReferralId, referral: &Referral) -> Result<()> {
    let conversation = &thread.conversation;
    db.run(
        "INSERT INTO referrals (id, workspace_id, channel_id, conversation_id, contact_id, referral, prefilled_text)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            key(id),
            thread.workspace,
            key(conversation.channel_id),
            key(conversation.id),
            key(conversation.contact.id),
            json(referral)?,
            referral.prefilled_text,
        ],
    )?;
    Ok(())
}

pub(super) fn one(db: &Db<'_>, workspace: &str, id: ReferralId) -> Result<Option<ReferralRecord>> {
    db.one(
        "SELECT channel_id, conversation_id, contact_id, referral, ad FROM referrals WHERE id = ?2 AND workspace_id = ?1",
        params![workspace, key(id)],
        |row| {
            Ok(ReferralRecord {
                channel_id: get_id(row, 0)?,
                conversation_id: get_id(row, 1)?,
                contact_id: get_id(row, 2)?,
                referral: get_json(row, 3, "referrals.referral")?,
                ad: get_json_if(row, 4, "referrals.ad")?,
            })
        },
    )
}

pub(super) fn keep_ad(db: &Db<'_>, id: ReferralId, answer: &AdAnswer) -> Result<()> {
    db.run(
        "UPDATE referrals SET ad = ?2 WHERE id = ?1",
        params![key(id), json(answer)?],
    )?;
    Ok(())
}

/// The newest referral by a link with this text in it.
pub(super) fn with_prefill(db: &Db<'_>, channel: ChannelId, text: &str) -> Result<Option<Referral>> {
    db.one(
        "SELECT referral FROM referrals WHERE channel_id = ?1 AND prefilled_text = ?2 ORDER BY id DESC LIMIT 1",
        params![key(channel), text],
        |row| get_json(row, 0, "referrals.referral"),
    )
}
