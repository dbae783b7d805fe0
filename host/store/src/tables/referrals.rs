//! Referrals: how contacts arrived, and details that were fetched later.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use weir_domain::id::{ChannelId, ConversationId, ReferralId};
use weir_domain::message::Referral;
use weir_domain::record::change::NewReferral;
use weir_domain::time::Timestamp;

use crate::db::{Db, Row, cursor_id, fetch, get_id, get_json, get_json_if, json, key, key_if, listed, ms, params};
use crate::{AdAnswer, Listed, Page, ReferralRecord, Result};

/// Referrals of one conversation that a group of webhooks may read: no contact clicks more ads within one.
const SCANNED: u32 = 256;

pub(crate) fn insert(db: &Db<'_>, new: &NewReferral) -> Result<()> {
    db.write(
        "INSERT INTO referrals (id, workspace_id, channel_id, conversation_id, contact_id, referral, prefilled_text, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            key_if(new.referral.id),
            new.workspace,
            key(new.channel),
            key(new.conversation),
            key(new.contact),
            json(&new.referral)?,
            new.referral.prefilled_text,
            ms(new.referral.at),
        ],
    )?;
    Ok(())
}

pub(crate) fn one(db: &Db<'_>, workspace: &str, id: ReferralId) -> Result<Option<ReferralRecord>> {
    db.one(
        &format!("SELECT {REFERRAL} FROM referrals WHERE id = ?2 AND workspace_id = ?1"),
        params![workspace, key(id)],
        read,
    )
}

const REFERRAL: &str = "channel_id, conversation_id, contact_id, referral, ad";

fn read(row: &Row<'_>) -> Result<ReferralRecord> {
    Ok(ReferralRecord {
        channel_id: get_id(row, 0)?,
        conversation_id: get_id(row, 1)?,
        contact_id: get_id(row, 2)?,
        referral: get_json(row, 3, "referrals.referral")?,
        ad: get_json_if(row, 4, "referrals.ad")?,
    })
}

/// Referrals, the most recently stored first.
pub(crate) fn all(
    db: &Db<'_>,
    workspace: &str,
    of: &BTreeSet<ChannelId>,
    page: &Page,
) -> Result<Listed<ReferralRecord>> {
    let cursor = cursor_id::<ReferralId>(page);
    let rows = if of.is_empty() {
        db.all(
            &format!("SELECT {REFERRAL} FROM referrals WHERE workspace_id = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3"),
            params![workspace, cursor, fetch(page)],
            read,
        )?
    } else {
        let sql = format!(
            "SELECT {REFERRAL} FROM referrals WHERE channel_id = ?2 AND workspace_id = ?1 AND id < ?3
             ORDER BY id DESC LIMIT ?4"
        );
        let each = |channel: &ChannelId| db.all(&sql, params![workspace, key(*channel), cursor, fetch(page)], read);
        let mut rows = of.iter().map(each).collect::<Result<Vec<_>>>()?.concat();
        rows.sort_by_key(|row| Reverse(row.referral.id));
        rows
    };
    Ok(listed(page, rows, |last| {
        last.referral.id.map_or_else(String::new, |id| id.to_string())
    }))
}

/// The referrals of a conversation up to a moment, the newest first.
pub(crate) fn until(db: &Db<'_>, conversation: ConversationId, at: Timestamp) -> Result<Vec<Referral>> {
    db.all(
        "SELECT referral FROM referrals WHERE conversation_id = ?1 AND at <= ?2 ORDER BY at DESC, id LIMIT ?3",
        params![key(conversation), at.as_millis(), SCANNED],
        |row| get_json(row, 0, "referrals.referral"),
    )
}

pub(crate) fn keep_ad(db: &Db<'_>, workspace: &str, id: ReferralId, answer: &AdAnswer) -> Result<()> {
    db.write(
        "UPDATE referrals SET ad = ?3 WHERE id = ?1 AND workspace_id = ?2",
        params![key(id), workspace, json(answer)?],
    )?;
    Ok(())
}

/// The newest referral by a link with this text as its prefill.
pub(crate) fn with_prefill(db: &Db<'_>, workspace: &str, channel: ChannelId, text: &str) -> Result<Option<Referral>> {
    db.one(
        "SELECT referral FROM referrals WHERE channel_id = ?1 AND workspace_id = ?2 AND prefilled_text = ?3
         ORDER BY id DESC LIMIT 1",
        params![key(channel), workspace, text],
        |row| get_json(row, 0, "referrals.referral"),
    )
}
