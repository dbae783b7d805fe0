//! Every error code of the API, with its cause and fix: the source of problem documents, the page at `/docs/errors` and
//! `docs/errors.md`.

use std::fmt::Write as _;

use weir_domain::problem::Fault;

/// A stable code. Programs switch on `name`; the rest is for people.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Code {
    /// As in a problem's `code`, and the anchor of its section.
    pub(crate) name: &'static str,
    /// The HTTP status of a problem with this code; 0 for a code that occurs only on messages.
    pub(crate) status: u16,
    /// Who can fix it.
    pub(crate) fault: Fault,
    /// Whether the same request may succeed later.
    pub(crate) retryable: bool,
    /// A short title.
    pub(crate) title: &'static str,
    /// Why it happened.
    pub(crate) meaning: &'static str,
    /// What to do about it.
    pub(crate) remedy: &'static str,
}

macro_rules! codes {
    ($($group:literal { $($name:ident = $text:literal $status:literal $fault:ident $retryable:literal, $title:literal, $meaning:literal, $remedy:literal;)* })*) => {
        $($(
            pub(crate) static $name: Code = Code {
                name: $text, status: $status, fault: Fault::$fault, retryable: $retryable,
                title: $title, meaning: $meaning, remedy: $remedy,
            };
        )*)*
        /// All of them, by group, in the order of the documentation.
        pub(crate) static GROUPS: &[(&str, &[&Code])] = &[$(($group, &[$(&$name,)*]),)*];
    };
}

codes! {
"Requests" {
NOT_FOUND = "not_found" 404 Caller false, "Not found",
    "No route has this path, or the key's workspace has nothing with this id.",
    "Check the path and the id. Ids carry their kind: `chn_…` is a channel, `cnv_…` a conversation.";
METHOD_NOT_ALLOWED = "method_not_allowed" 405 Caller false, "Method not allowed",
    "The path exists and accepts other methods: the `Allow` header lists them.",
    "Use one of them.";
REQUEST_TIMEOUT = "request_timeout" 408 Caller true, "The request did not arrive in time",
    "The body took longer than the time limit. No work was started.",
    "Send it again.";
STILL_AT_WORK = "still_at_work" 504 Host true, "The request takes longer than the host waits",
    "The work continues; only the wait for its response has ended.",
    "Repeat the request later: with the same `Idempotency-Key` you get the response to this request.";
BODY_TOO_LARGE = "body_too_large" 413 Caller false, "The body is too large",
    "JSON bodies may have 256 KiB, webhooks 1 MiB, components 16 MiB, uploads 20 MiB.",
    "Send less; upload pictures and files with `POST /v1/media`.";
UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type" 415 Caller false, "Unsupported content type",
    "The route accepts another content type than `Content-Type` names.",
    "Use the type that `detail` names; for most routes `application/json`.";
INVALID_JSON = "invalid_json" 400 Caller false, "The body is not JSON",
    "The body is truncated, or is not valid JSON (RFC 8259).",
    "See `detail` for line and column.";
INVALID_REQUEST = "invalid_request" 422 Caller false, "A member of the body is invalid",
    "The body is JSON, but a member is missing, unknown, or of the wrong type.",
    "`errors[].pointer` is a JSON Pointer (RFC 6901) to the member.";
INVALID_PARAMETER = "invalid_parameter" 400 Caller false, "A parameter is invalid",
    "A query parameter or a header cannot be read, is out of range, or does not belong to the route.",
    "`errors[].parameter` names it.";
INTERNAL_ERROR = "internal_error" 500 Host true, "Internal error",
    "An unexpected error occurred. The log has the details under the `request_id`.",
    "Try again; report it if it persists.";
}
"Keys" {
KEY_UNKNOWN = "key_unknown" 401 Caller false, "The API key is missing or unknown",
    "Every route under `/v1` except `/v1/openapi.json` needs `Authorization: Bearer <key>`.",
    "Send a key. The first one is in `<data>/admin.key`, or set by `WEIR_ADMIN_KEY`.";
KEY_ENDED = "key_ended" 401 Caller false, "The API key is not valid any more",
    "The key expired or was revoked.",
    "Create a new one: `weir key create`.";
SESSION_OVER = "session_over" 401 Caller false, "The session has ended",
    "A sign-in lasts a week. It ended, the user signed out, or the session's key expired or was revoked.",
    "Sign in again with a key.";
CSRF_TOKEN_MISSING = "csrf_token_missing" 403 Caller false, "The CSRF token is missing",
    "A request that changes something and carries a session cookie must carry the session's CSRF token too: it proves that a page of this host made the request.",
    "Send `X-CSRF-Token` with the value from `GET /v1/session`, or use a key instead of the cookie.";
SCOPE_MISSING = "scope_missing" 403 Caller false, "The API key lacks a scope",
    "The key lacks the scope that `scope` names.",
    "Use a key that has it.";
KEY_BOUND = "key_bound" 403 Caller false, "The API key is bound to channels",
    "The request concerns the whole workspace; the key is bound to some of its channels.",
    "Use a key that is bound to no channel.";
OPERATOR_ONLY = "operator_only" 403 Caller false, "Reserved for the operator",
    "The request concerns the host and every workspace: connectors, transcripts, workspaces, origins on this machine.",
    "Use a key of the workspace `default`.";
WORKSPACE_TAKEN = "workspace_taken" 409 Caller false, "The workspace cannot be created",
    "A workspace of this name exists, one of this name is still being removed, or the host has as many as it may have.",
    "Choose another name, or wait about twenty minutes after a removal.";
WORKSPACE_IN_USE = "workspace_in_use" 409 Caller false, "The workspace is in use",
    "It has `channels` that are not deleted, or it is the operator's.",
    "Delete its channels first; each deletion ends the account's authorization at the platform.";
TOO_MANY_ATTEMPTS = "too_many_attempts" 429 Caller true, "Too many wrong keys",
    "Too many requests with wrong keys came from this address.",
    "Wait for the time in `Retry-After`, then use the right key.";
}
"Idempotency" {
IDEMPOTENCY_KEY_INVALID = "idempotency_key_invalid" 400 Caller false, "The Idempotency-Key is invalid",
    "It is empty, longer than 255 characters, or not printable ASCII.",
    "Use a random one, a UUID for example.";
IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused" 422 Caller false, "The Idempotency-Key belongs to another request",
    "The same key came within 24 hours with another method, path or body.",
    "Use a new key for a new request, and the same body for a repeated one.";
REQUEST_IN_PROGRESS = "request_in_progress" 409 Caller true, "The same request is in progress",
    "A request with this `Idempotency-Key` has not been answered yet.",
    "Wait a moment and repeat it; the answer will be the first one's.";
REQUEST_INTERRUPTED = "request_interrupted" 409 Host false, "The request was interrupted",
    "The host stopped or failed during the request with this `Idempotency-Key`, after it had written something. It is unknown which steps completed, so the request is not repeated automatically.",
    "Check whether its result exists. If not, send it again with a new key.";
CLIENT_REF_TAKEN = "client_ref_taken" 409 Caller false, "Another message has this client_ref",
    "`client_ref` is unique in a channel; `message_id` names the message that has it.",
    "Read that message: it may be the one you wanted to send.";
}
"Refusals: the state of the conversation or the channel" {
REPLY_WINDOW_CLOSED = "reply_window_closed" 409 Caller false, "The messaging window is closed",
    "The platform lets a business write for a limited time after the contact's last message; `closed_at` is when that ended.",
    "Wait for the contact to write. Nothing else opens the window.";
MESSAGE_BUDGET_EXHAUSTED = "message_budget_exhausted" 409 Caller false, "The message budget is used up",
    "The platform accepts `limit` messages until the contact writes again, and all are used. This is not a rate limit: waiting does not help, so there is no `Retry-After`.",
    "Wait for the contact's next message (`resets_on`).";
CONVERSATION_INITIATION_NOT_ALLOWED = "conversation_initiation_not_allowed" 409 Caller false, "A business may not write first",
    "The contact has never written in this conversation.",
    "Offer people a link: `GET /v1/channels/{id}/entry-points`.";
REGION_NOT_ELIGIBLE = "region_not_eligible" 409 Platform false, "The platform excludes this country",
    "The account's `country` is on the platform's list of excluded countries; `source` names where it was published.",
    "None within Weir.";
CHANNEL_DELETED = "channel_deleted" 409 Caller false, "The channel was deleted",
    "Its history can be read; nothing can be sent.",
    "Connect the account again; its history stays.";
NOTHING_TO_RENEW = "nothing_to_renew" 409 Caller false, "The credential cannot be renewed",
    "A person entered it, or the platform issued nothing to renew it with; `detail` names the cause and whether the platform still accepts it.",
    "Nothing while it is accepted. Otherwise connect the account again, or authorize it again.";
RENEWAL_REFUSED = "renewal_refused" 409 Caller false, "The platform refused to renew the credential",
    "It answered and rejected the request, usually because the app's secret was changed at the platform. The authorization is still valid, and the channel works until its credential expires. `detail` has the platform's message, `platform` its code.",
    "Compare the app's secrets with the platform's portal, enter them with `PUT /v1/apps/{name}`, then refresh again. The host retries automatically too.";
RENEWAL_UNANSWERED = "renewal_unanswered" 502 Platform true, "The platform did not renew the credential",
    "It sent no answer, one without a credential, or one for another account. The channel keeps the credential that it has.",
    "Refresh again later. The host retries automatically too.";
CREDENTIAL_UNWRITTEN = "credential_unwritten" 503 Host true, "A credential is not on the disk yet",
    "A platform has issued a new credential, and the database does not accept it: it is locked, or the disk is full. The host uses the credential meanwhile, and writes it as soon as the database accepts it.",
    "Free disk space, or end what locks the database. Do not stop the host before: the old credential is not valid any more.";
CHANNEL_PAUSED = "channel_paused" 409 Caller false, "The channel is paused",
    "An operator paused it.",
    "`PATCH /v1/channels/{id}` with `{\"paused\": false}`.";
REAUTHORIZATION_REQUIRED = "reauthorization_required" 409 Caller false, "A person must authorize the channel again",
    "The platform does not accept the channel's credential any more. Waiting messages are kept.",
    "`POST /v1/channels/{id}/reauthorize` and open the link.";
MEDIA_NOT_ALLOWED_IN_REGION = "media_not_allowed_in_region" 409 Platform false, "Pictures are not allowed for this contact",
    "The platform does not allow pictures in the account's or the contact's country.",
    "Send a text. `GET /v1/conversations/{id}/features` lists the supported content in advance.";
SIGNAL_NOT_SUPPORTED = "signal_not_supported" 409 Platform false, "The platform does not support this signal",
    "The connector has no typing indicator or read receipt.",
    "None needed; messages are not affected.";
ABILITY_NOT_SUPPORTED = "ability_not_supported" 409 Platform false, "The connector does not support this",
    "The connector does not export the optional interface that this needs; `detail` names it.",
    "None needed; messages are not affected.";
MESSAGE_NOT_CANCELLABLE = "message_not_cancellable" 409 Caller false, "The message cannot be canceled",
    "It is being sent or was sent; see `message_status`.",
    "Only queued messages can be canceled.";
MESSAGE_NOT_RETRYABLE = "message_not_retryable" 409 Caller false, "The message cannot be sent again",
    "Only failed and uncertain messages can be retried; see `message_status`.",
    "Send a new message.";
}
"Refusals: the content" {
TEXT_EMPTY = "text_empty" 422 Caller false, "The text is empty",
    "It contains only white space.",
    "Write something.";
TEXT_TOO_LONG = "text_too_long" 422 Caller false, "The text is too long",
    "The platform accepts `max` characters, and the text has `actual`: Unicode scalar values or UTF-16 units, whichever is more.",
    "Shorten it, or send it with `\"split\": true`; each part counts against the budget.";
LINK_NOT_ALLOWED = "link_not_allowed" 422 Caller false, "The text contains a link",
    "The platform does not make links clickable, and there are reports that it blocks such messages; the app's setting `refuse_links` is on.",
    "Spell the address so that a person can type it, or switch the setting off to get a warning instead.";
CONTENT_TYPE_NOT_SUPPORTED = "content_type_not_supported" 422 Platform false, "The platform does not support this content type",
    "`kind` cannot be sent through this connector.",
    "`GET /v1/conversations/{id}/features` lists what can.";
MEDIA_TYPE_NOT_SUPPORTED = "media_type_not_supported" 422 Platform false, "The platform does not support this file type",
    "`actual` was detected from the file's first bytes, regardless of its name; `allowed` lists what the platform accepts.",
    "Convert the file.";
MEDIA_TOO_LARGE = "media_too_large" 422 Caller false, "The file is too large",
    "It has `actual` bytes; `max` are accepted.",
    "Make it smaller.";
MEDIA_NOT_STORED = "media_not_stored" 422 Caller false, "The media is not stored",
    "The message names a media id without stored bytes in this workspace.",
    "Upload with `POST /v1/media`, then send with the id that it returned.";
BROADCAST_NOT_SUPPORTED = "broadcast_not_supported" 422 Platform false, "The platform does not support broadcasts",
    "One message cannot be sent to many people at once.",
    "Send to each conversation within its own window.";
DRAFT_INVALID = "draft_invalid" 422 Caller false, "The connector refuses the draft",
    "The draft violates a rule of the platform that the connector checks.",
    "See `errors[]` for each member and what is wrong.";
REPLY_TO_UNKNOWN = "reply_to_unknown" 422 Caller false, "The quoted message is not in this conversation",
    "`reply_to` names no message of the conversation.",
    "Quote a message of the conversation, or leave `reply_to` out.";
}
"Connecting" {
APP_UNKNOWN = "app_unknown" 422 Caller false, "Unknown app",
    "No app has the name in `app`.",
    "Create it: `PUT /v1/apps/{name}`.";
APP_INCOMPLETE = "app_incomplete" 409 Caller false, "The app is incomplete",
    "The connector needs a secret or a setting that the app does not have, or no version of the connector is active.",
    "See `detail`. `PUT /v1/apps/{name}`, or promote a version.";
CONNECTOR_UNKNOWN = "connector_unknown" 422 Caller false, "Unknown connector",
    "No version of it is installed.",
    "`POST /v1/connectors` with its bytes.";
ORIGIN_REFUSED = "origin_refused" 422 Caller false, "The origin mapping is invalid",
    "A mapping is not an origin, or breaks a rule: a host with a followed clock accepts only origins on this machine.",
    "See `detail`.";
PERSONAL_ACCOUNT_NOT_SUPPORTED = "personal_account_not_supported" 422 Platform false, "Personal accounts cannot be connected",
    "The platform's messaging is for business accounts.",
    "Switch the account to a Business Account in the platform's app, then connect again.";
UNGRANTED_SCOPES = "ungranted_scopes" 422 Caller false, "A permission is missing",
    "The person did not grant a permission that the channel needs.",
    "Connect again and leave every permission switched on.";
CONNECT_FAILED = "connect_failed" 502 Platform true, "The account could not be connected",
    "The platform refused the authorization, or did not answer.",
    "See `detail` for the platform's message. Start a new connect session.";
CONNECT_INTERRUPTED = "connect_interrupted" 409 Host true, "Connecting was interrupted",
    "The host stopped before the account was connected, and the result of the platform's login is lost.",
    "Start a new one: `POST /v1/connect-sessions`.";
CONNECT_SESSION_OVER = "connect_session_over" 409 Caller false, "The connect session has ended",
    "It was used, it failed, or it is older than ten minutes.",
    "Start a new one: `POST /v1/connect-sessions`.";
ENTRY_POINT_NOT_SUPPORTED = "entry_point_not_supported" 422 Caller false, "The platform has no such link",
    "The connector declares no link of this kind, or the link cannot contain this message or `ref`.",
    "`GET /v1/channels/{id}/entry-points` lists the links and what they can contain.";
POLICY_LOOSEN_NOT_ALLOWED = "policy_loosen_not_allowed" 403 Caller false, "A policy may only be tightened",
    "The new value is looser than the current one, and the key lacks the scope `policy:loosen`.",
    "Use a key that has it, or a stricter value.";
}
"Connectors" {
COMPONENT_REFUSED = "component_refused" 422 Caller false, "The component was refused",
    "It is not a component of this interface, imports what no connector may, or its manifest breaks a rule.",
    "See `detail` for the part and a valid value. `weir connector inspect FILE` makes the same checks without a host.";
SIGNATURE_REFUSED = "signature_refused" 422 Caller false, "The component's signature is not trusted",
    "It is signed by a key that this host does not trust, or is unsigned where a signature is required.",
    "Add the key to `trusted_keys`, or have it signed.";
VERSION_TAKEN = "version_taken" 409 Caller false, "This version exists with other bytes",
    "A version number belongs to one sequence of bytes forever.",
    "Raise the version.";
DOWNGRADE_REFUSED = "downgrade_refused" 409 Caller false, "The release counter is lower",
    "A newer release of this connector is or was installed, so an older one must be requested explicitly.",
    "Repeat with `?allow_downgrade=true` to install it.";
GRANTS_MISSING = "grants_missing" 409 Caller false, "The connector requests more than was granted",
    "`missing` lists what the version requests and has not been granted.",
    "Read it, `PUT /v1/connectors/{name}/grants`, then promote.";
VERSION_STAGE = "version_stage" 409 Caller false, "The version is in the wrong stage",
    "A canary needs an active version; a roll-back needs a previous version that is not quarantined; a version that serves, or owns the states of accounts, cannot be retired. While another node changes the connector's versions, none of this can be done.",
    "`GET /v1/connectors/{name}/timeline` shows the stage of each version.";
CONNECTOR_FAILED = "connector_failed" 502 Host true, "The connector failed",
    "It crashed, ran out of time, or returned something invalid.",
    "Try again; if it persists, the connector needs a fix. On a message: nothing was sent, or the message would be `uncertain`.";
PLATFORM_REFUSED = "platform_refused" 502 Platform false, "The platform refused the request",
    "`reason` is Weir's term for the cause, `platform` has the platform's own code and message.",
    "Depends on the reason; the platform's support needs its `request_id`.";
HOST_BUSY = "host_busy" 503 Host true, "The host is at its limits",
    "Every slot for connector calls, event streams or writes is in use.",
    "Repeat after `Retry-After`.";
CONNECTOR_NOT_LOADED = "connector_not_loaded" 503 Host true, "An active connector cannot be loaded",
    "The component of an active version is missing in the database, contains other bytes, or is no longer trusted. Webhooks for it are answered 503, so that the platform redelivers them; a node on which the previous version still runs uses that one. Loading is retried within five minutes.",
    "Install the same file again: it serves at once. Or promote another version.";
NODE_FENCED = "node_fenced" 503 Host true, "The node cannot reach the database",
    "This node could not write its heartbeat for some seconds. It sends nothing, so that nothing is sent twice when another node takes over its work.",
    "Check the database and the network path to it; the node resumes automatically once its heartbeat succeeds.";
LOOP_STALLED = "loop_stalled" 503 Host true, "A background task has stalled",
    "The task that sends messages, delivers events or renews credentials has not reported for minutes. Nothing is lost.",
    "Restart the host, and keep its log: this is a bug in Weir.";
}
"Webhooks, events, media" {
WEBHOOK_FORGED = "webhook_forged" 401 Caller false, "The webhook's signature is invalid",
    "The signature is missing, wrong, or too old. Nothing was recorded.",
    "Check that the app's secret is the platform's, and both clocks.";
TOO_MANY_FORGED = "too_many_forged" 429 Caller true, "Too many forged webhooks",
    "Webhooks with an invalid signature came from this address repeatedly; this one was not read.",
    "Wait for the time in `Retry-After`. The platform redelivers a genuine webhook automatically.";
WEBHOOK_CHALLENGE_FAILED = "webhook_challenge_failed" 403 Caller false, "The verification challenge failed",
    "The platform's verification request does not contain the app's verify token.",
    "Enter the same token at the platform and in the app's secrets.";
STORE_UNAVAILABLE = "store_unavailable" 503 Host true, "The database is unavailable",
    "Too many writes wait, the disk is full or locked, or with PostgreSQL the server cannot be reached. Nothing was written.",
    "Repeat after `Retry-After`.";
WRITE_UNKNOWN = "write_unknown" 500 Host false, "Whether this was written is unknown",
    "The database failed or disconnected during the commit. Either the whole change was written, or none of it.",
    "Check whether the change is there before repeating the request. A send with an `Idempotency-Key` can be repeated safely.";
REPLAY_FAILED = "replay_failed" 409 Host true, "The dead letter still cannot be translated",
    "The active version of the connector fails on it, as the previous one did.",
    "Fix the connector, promote it, and replay again.";
URL_REFUSED = "url_refused" 422 Caller false, "Weir does not call this URL",
    "URLs set through the API must be https and public unless the operator allows others (`delivery.allow_private`).",
    "See `detail` for the rule.";
FETCH_FAILED = "fetch_failed" 422 Caller true, "The file could not be downloaded",
    "The URL answered with an error, not at all, or with too many bytes.",
    "Check the URL, or upload the bytes themselves.";
MEDIA_LINK_INVALID = "media_link_invalid" 403 Caller false, "The media link is invalid",
    "The link has expired or was modified.",
    "Get a new one: `GET /v1/media/{id}`.";
MEDIA_PENDING = "media_pending" 503 Platform true, "The file is not stored yet",
    "It is being downloaded from the platform.",
    "Repeat after `Retry-After`; the event `media.stored` reports when it is stored.";
MEDIA_FAILED = "media_failed" 410 Platform false, "The file is not available",
    "The platform did not deliver it, and will not.",
    "None; ask the contact to send it again.";
}
"On messages only" {
RECIPIENT_RISK_CONTROLLED = "recipient_risk_controlled" 0 Platform false, "The platform blocks messages to this contact",
    "The platform's risk control refused the message; `error.platform` has its message.",
    "Wait for the contact to write again. Repeating makes it worse.";
MESSAGING_RESTRICTED = "messaging_restricted" 0 Platform false, "The platform restricts this account's messages",
    "The account may not send for now.",
    "Open the platform's own app: it shows the reason and the end date.";
RATE_LIMITED = "rate_limited" 0 Platform true, "The platform's rate limit was exceeded",
    "More requests were sent than the platform accepts. Weir waits and retries automatically.",
    "None; a message that fails with this was retried for as long as it made sense.";
PLATFORM_UNAVAILABLE = "platform_unavailable" 0 Platform true, "The platform is unavailable",
    "It failed or could not be reached in all attempts.",
    "`POST /v1/messages/{id}/retry` when it is back.";
OUTCOME_UNKNOWN = "outcome_unknown" 0 Platform false, "The message may or may not have been sent",
    "The request was sent and no response arrived. Weir never sends such a message again blindly: a second copy in a person's chat is worse than a late one. The platform's echo or history settles it.",
    "Wait until it is settled, or check the platform's app and then `POST /v1/messages/{id}/retry`.";
LINKS_NOT_CLICKABLE = "links_not_clickable" 0 Platform false, "Links in this text are not clickable",
    "A warning, not a failure: the platform shows them as plain text.",
    "Spell the address so that a person can type it.";
}
}

/// The code of this name.
pub(crate) fn named(name: &str) -> Option<&'static Code> {
    all().find(|code| code.name == name)
}

/// All codes, in the order of the documentation.
pub(crate) fn all() -> impl Iterator<Item = &'static Code> {
    GROUPS.iter().flat_map(|(_, codes)| codes.iter().copied())
}

/// The text of `docs/errors.md`.
pub(crate) fn markdown() -> String {
    let mut text = String::from(HEAD);
    for (group, codes) in GROUPS {
        let _ = write!(text, "\n## {group}\n");
        for code in *codes {
            let status = match code.status {
                0 => "on messages".to_owned(),
                status => format!("HTTP {status}"),
            };
            let again = if code.retryable { "retryable" } else { "not retryable" };
            let _ = write!(
                text,
                "\n### {}\n\n**{}.** {status} · fault: {} · {again}.\n\n{}\n\n*What to do:* {}\n",
                code.name,
                code.title,
                fault(code.fault),
                code.meaning,
                code.remedy
            );
        }
    }
    text
}

const HEAD: &str = "# Errors\n\n\
    Every error of the API is a problem document (RFC 9457, `application/problem+json`). Its `type` ends in `#` and the code; \
    its `code` is stable. `fault` names who can fix it: `caller`, `platform` or `host`. `errors[]` points at what is wrong in \
    the request: `pointer` into the body (RFC 6901), or `parameter` for the query and the headers. *Retryable* means that the same \
    request may succeed later. Include `request_id` when you ask for help.\n\n\
    A refusal by a rule has a `refusal_id`: `GET /v1/refusals/{id}` (or `weir why`) shows the rule that decided, and the facts on \
    both sides.\n";

/// The name of the party at fault.
pub(crate) fn fault(fault: Fault) -> &'static str {
    match fault {
        Fault::Caller => "caller",
        Fault::Platform => "platform",
        Fault::Host => "host",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_code_has_one_name_and_a_status_of_failure() {
        let names: BTreeSet<_> = all().map(|code| code.name).collect();
        assert_eq!(names.len(), all().count());
        for code in all() {
            assert!(code.status == 0 || (400..600).contains(&code.status), "{}", code.name);
            assert_eq!(named(code.name), Some(code));
        }
    }

    /// Run with `WEIR_WRITE_DOCS=1` to regenerate the file.
    #[test]
    fn the_documentation_has_one_section_per_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors.md");
        if std::env::var_os("WEIR_WRITE_DOCS").is_some() {
            std::fs::write(path, markdown()).expect("the documentation can be written");
        }
        let written = std::fs::read_to_string(path).expect("docs/errors.md is there");
        assert!(
            written == markdown(),
            "docs/errors.md differs from the table; run with WEIR_WRITE_DOCS=1"
        );
    }
}
