//! Identity and set-up of an account (Get profile data of a TikTok account; webhook configuration; token info).

use weir_sdk::identity::{Finding, Profile};
use weir_sdk::serde_json::json;
use weir_sdk::types::{Channel, Failure, Verdict};

use crate::manifest::REQUIRED_SCOPES;
use crate::wire;

/// Reads the account's profile.
///
/// # Errors
/// TikTok's response.
pub fn who_am_i(channel: &Channel) -> Result<Profile, Failure> {
    let call = wire::get(wire::ACCOUNT)
        .query("business_id", &channel.platform_id)
        .query(
            "fields",
            r#"["is_business_account","username","display_name","profile_image"]"#,
        );
    let mut data = wire::ask(call)?;
    let account_kind = match data.boolean("is_business_account") {
        Some(true) => "business",
        Some(false) => "personal",
        None => "unknown",
    };
    Ok(Profile {
        platform_id: channel.platform_id.clone(),
        username: data.filled_text("username"),
        display_name: data.filled_text("display_name"),
        avatar_url: data.filled_text("profile_image"),
        account_kind: account_kind.into(),
        // TikTok does not report where an account is registered; the operator enters it.
        country: None,
        platform_data: data.rest(),
    })
}

/// Sets the app's webhook address to the host. One address serves every account of the app, so it is written only if it
/// differs. TikTok subscribes no app automatically, and without a subscription no message arrives and no error reports
/// it.
///
/// # Errors
/// TikTok's response.
pub fn subscribe(channel: &Channel) -> Result<(), Failure> {
    let present = match subscription() {
        Ok(url) => url,
        // Some codes mean that nothing is configured yet; the write decides.
        Err(failure) if failure.verdict == Verdict::Permanent => None,
        Err(failure) => return Err(failure),
    };
    if present.as_deref() == Some(channel.callback_url.as_str()) {
        return Ok(());
    }
    // The host inserts the app's id and secret into the empty texts.
    let body = json!({
        "app_id": "",
        "secret": "",
        "event_type": wire::DIRECT_MESSAGE,
        "callback_url": channel.callback_url,
    });
    wire::ask(wire::post(wire::WEBHOOK_UPDATE).json(&body)).map(drop)
}

/// Whether TikTok serves messages for this account, inferred from its response to the smallest query: no API reports
/// where an account is registered or which access its app has. A transient error is no result.
///
/// # Errors
/// TikTok's response.
pub fn may_message(channel: &Channel) -> Result<(), Failure> {
    let call = wire::get(wire::CONVERSATIONS)
        .query("business_id", &channel.platform_id)
        .query("conversation_type", "SINGLE")
        .query("limit", "1")
        .query("cursor", "0");
    match wire::ask(call) {
        Err(failure) if failure.verdict == Verdict::Permanent => Err(Failure {
            detail: format!(
                "TikTok serves no messages for this account: {}. {NOT_SERVED}",
                seen(&failure)
            ),
            ..failure
        }),
        _ => Ok(()),
    }
}

const NOT_SERVED: &str = "The account must be a Business Account, registered outside the EEA, Switzerland, the United Kingdom \
                          and the United States; some need TikTok's Advanced Access besides, for which switching to business \
                          in the app alone is not enough.";

/// The URL to which TikTok sends the app's direct messages, if there is one.
fn subscription() -> Result<Option<String>, Failure> {
    let mut data = wire::ask(wire::get(wire::WEBHOOK_LIST).query("event_type", wire::DIRECT_MESSAGE))?;
    Ok(data.filled_text("callback_url"))
}

/// Checks the token, the permissions and the webhook subscription. A refusal by TikTok is a finding, not a failure:
/// diagnostics are requested when there is a problem.
#[must_use]
pub fn check(channel: &Channel) -> Vec<Finding> {
    vec![
        check_token(channel),
        check_permissions(),
        check_subscription(channel),
        check_messaging(channel),
    ]
}

fn check_token(channel: &Channel) -> Finding {
    match who_am_i(channel) {
        Ok(profile) => {
            let name = profile.username.unwrap_or(profile.platform_id);
            finding(
                "token",
                profile.account_kind != "personal",
                format!("TikTok knows the account as {name}, kind {}", profile.account_kind),
                "Connect a business account; TikTok serves no personal ones.",
            )
        }
        Err(failure) => finding("token", false, seen(&failure), "Authorize the channel again."),
    }
}

fn check_messaging(channel: &Channel) -> Finding {
    match may_message(channel) {
        Ok(()) => finding("messaging", true, "TikTok serves messages for this account".into(), ""),
        Err(failure) => finding("messaging", false, seen(&failure), NOT_SERVED),
    }
}

fn check_permissions() -> Finding {
    const REMEDY: &str = "Authorize the channel again and leave every permission ticked.";
    // The host inserts both into the empty texts.
    let call = wire::post(wire::TOKEN_INFO).json(&json!({ "app_id": "", "access_token": "" }));
    match wire::ask(call) {
        Ok(mut data) => {
            let granted = data.text("scope").unwrap_or_default();
            let granted: Vec<&str> = granted.split(',').map(str::trim).collect();
            let missing: Vec<&str> = REQUIRED_SCOPES
                .iter()
                .map(|(scope, _)| *scope)
                .filter(|scope| !granted.contains(scope))
                .collect();
            match missing.as_slice() {
                [] => finding("permissions", true, "every required permission was granted".into(), ""),
                missing => finding(
                    "permissions",
                    false,
                    format!("not granted: {}", missing.join(", ")),
                    REMEDY,
                ),
            }
        }
        Err(failure) => finding("permissions", false, seen(&failure), REMEDY),
    }
}

fn check_subscription(channel: &Channel) -> Finding {
    const REMEDY: &str = "Authorize the channel again, which sets the address; if another program shares the app, give one of \
                          them an app of its own.";
    match subscription() {
        Ok(Some(url)) if url == channel.callback_url => {
            finding("webhook_subscription", true, format!("TikTok sends to {url}"), "")
        }
        Ok(Some(url)) => {
            let evidence = format!(
                "TikTok sends webhooks to {url}, and this host's URL is {}",
                channel.callback_url
            );
            finding("webhook_subscription", false, evidence, REMEDY)
        }
        Ok(None) => finding(
            "webhook_subscription",
            false,
            "TikTok has no webhook URL for direct messages".into(),
            REMEDY,
        ),
        Err(failure) => finding(
            "webhook_subscription",
            false,
            seen(&failure),
            "Check the app's id and secret.",
        ),
    }
}

fn seen(failure: &Failure) -> String {
    match (&failure.platform_code, &failure.platform_message) {
        (Some(code), Some(message)) => format!("TikTok answered {code}: {message}"),
        (Some(code), None) => format!("TikTok answered {code}"),
        _ => failure.detail.clone(),
    }
}

/// Only failed checks have a remedy.
fn finding(subject: &str, ok: bool, evidence: String, remedy: &str) -> Finding {
    let remedy = if ok { String::new() } else { remedy.to_owned() };
    Finding {
        subject: subject.to_owned(),
        ok,
        evidence,
        remedy,
    }
}

#[cfg(test)]
mod tests;
