//! The requests that are cut off: one for each modifying route.

use serde_json::Value;

use crate::Answer;

/// A kind of modifying request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Activity,
    AskForContact,
    BeginTest,
    Callback,
    Canary,
    CancelMessage,
    CatchUp,
    CreateEndpoint,
    CreateKey,
    CreateWorkspace,
    DeleteAutomation,
    DeleteChannel,
    DeleteDeadLetter,
    DeleteEndpoint,
    DeleteWorkspace,
    EraseContact,
    Grant,
    Install,
    Promote,
    PutApp,
    PutAutomation,
    Reauthorize,
    Recover,
    Refresh,
    Rename,
    ReplayDeadLetter,
    ReplayVersion,
    Resend,
    Retire,
    RetryMessage,
    RevokeKey,
    RollBack,
    RotateAppSecrets,
    RotateSecret,
    Send,
    SendExample,
    StartSession,
    UpdateEndpoint,
    Upload,
    Webhook,
}

const VERSION: &str = "/v1/connectors/{name}/versions/{version}";

/// Every act with its route. The callback is a page and is not part of the OpenAPI description.
pub(super) const ACTS: [(Act, &str, &str); 40] = [
    (Act::Activity, "post", "/v1/conversations/{id}/activity"),
    (Act::AskForContact, "post", "/v1/contacts/{id}/refresh"),
    (Act::BeginTest, "post", "/v1/channels/{id}/test"),
    (Act::Callback, "get", "/oauth/callback"),
    (Act::Canary, "post", "{version}/canary"),
    (Act::CancelMessage, "delete", "/v1/messages/{id}"),
    (Act::CatchUp, "post", "/v1/channels/{id}/catch-up"),
    (Act::CreateEndpoint, "post", "/v1/endpoints"),
    (Act::CreateKey, "post", "/v1/keys"),
    (Act::CreateWorkspace, "post", "/v1/workspaces"),
    (
        Act::DeleteAutomation,
        "delete",
        "/v1/channels/{id}/automations/{kind}/{automation}",
    ),
    (Act::DeleteChannel, "delete", "/v1/channels/{id}"),
    (Act::DeleteDeadLetter, "delete", "/v1/dead-letters/{id}"),
    (Act::DeleteEndpoint, "delete", "/v1/endpoints/{id}"),
    (Act::DeleteWorkspace, "delete", "/v1/workspaces/{id}"),
    (Act::EraseContact, "post", "/v1/contacts/{id}/erase"),
    (Act::Grant, "put", "/v1/connectors/{name}/grants"),
    (Act::Install, "post", "/v1/connectors"),
    (Act::Promote, "post", "{version}/promote"),
    (Act::PutApp, "put", "/v1/apps/{name}"),
    (Act::PutAutomation, "put", "/v1/channels/{id}/automations/{kind}"),
    (Act::Reauthorize, "post", "/v1/channels/{id}/reauthorize"),
    (Act::Recover, "post", "/v1/endpoints/{id}/recover"),
    (Act::Refresh, "post", "/v1/channels/{id}/refresh"),
    (Act::Rename, "patch", "/v1/channels/{id}"),
    (Act::ReplayDeadLetter, "post", "/v1/dead-letters/{id}/replay"),
    (Act::ReplayVersion, "post", "{version}/replay"),
    (Act::Resend, "post", "/v1/deliveries/{id}/resend"),
    (Act::Retire, "post", "{version}/retire"),
    (Act::RetryMessage, "post", "/v1/messages/{id}/retry"),
    (Act::RevokeKey, "delete", "/v1/keys/{id}"),
    (Act::RollBack, "post", "{version}/rollback"),
    (Act::RotateAppSecrets, "post", "/v1/apps/{name}/secrets/rotate"),
    (Act::RotateSecret, "post", "/v1/endpoints/{id}/secret/rotate"),
    (Act::Send, "post", "/v1/conversations/{id}/messages"),
    (Act::SendExample, "post", "/v1/endpoints/{id}/send-example"),
    (Act::StartSession, "post", "/v1/connect-sessions"),
    (Act::UpdateEndpoint, "patch", "/v1/endpoints/{id}"),
    (Act::Upload, "post", "/v1/media"),
    (Act::Webhook, "post", "/hooks/{app}"),
];

/// Routes without an act, and the reason.
const LEFT_OUT: [(&str, &str, &str); 3] = [
    ("post", "/v1/broadcasts", "always refused"),
    (
        "post",
        "/v1/session",
        "makes a cookie for its caller alone, which ends by its age",
    ),
    (
        "delete",
        "/v1/session",
        "sent with a browser's cookie, and without effect when repeated",
    ),
];

/// The modifying routes of a description that are neither an act nor excluded, and the acts without a route.
pub fn unplayed_routes(document: &Value) -> Vec<String> {
    let of_acts = ACTS
        .iter()
        .map(|(_, method, path)| format!("{method} {}", path.replace("{version}/", &format!("{VERSION}/"))));
    let mut known: Vec<String> = of_acts
        .filter(|route| !route.starts_with("get "))
        .chain(LEFT_OUT.iter().map(|(method, path, _)| format!("{method} {path}")))
        .collect();
    let mut unplayed = Vec::new();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for method in methods.as_object().into_iter().flatten().map(|(method, _)| method) {
            let route = format!("{method} {path}");
            let place = known.iter().position(|known| *known == route);
            match place {
                Some(place) => drop(known.swap_remove(place)),
                None if matches!(method.as_str(), "post" | "put" | "patch" | "delete") => unplayed.push(route),
                None => {}
            }
        }
    }
    unplayed.extend(known.into_iter().map(|route| format!("{route} is not described")));
    unplayed
}

impl Act {
    /// The action in the audit log, where the route is a `POST` that writes one.
    pub(super) fn audited(self) -> Option<&'static str> {
        Some(match self {
            Self::AskForContact => "contact.refresh",
            Self::Canary => "connector.canary",
            Self::CatchUp => "channel.catch_up",
            Self::CreateEndpoint => "endpoint.create",
            Self::CreateKey => "key.create",
            Self::CreateWorkspace => "workspace.create",
            Self::EraseContact => "contact.erase",
            Self::Install => "connector.install",
            Self::Promote => "connector.promote",
            Self::Reauthorize => "channel.reauthorize",
            Self::Recover => "endpoint.recover",
            Self::ReplayVersion => "connector.replay",
            Self::Resend => "delivery.resend",
            Self::Retire => "connector.retire",
            Self::RetryMessage => "message.retry",
            Self::RollBack => "connector.rollback",
            Self::RotateAppSecrets => "app.rotate_secrets",
            Self::RotateSecret => "endpoint.rotate_secret",
            Self::SendExample => "endpoint.send_example",
            Self::StartSession => "channel.connect",
            _ => return None,
        })
    }

    /// Whether a response reports that nothing is left to do: a request without a key may have taken effect already.
    pub(super) fn is_over(self, answer: &Answer) -> bool {
        match self {
            Self::DeleteAutomation
            | Self::DeleteChannel
            | Self::DeleteDeadLetter
            | Self::DeleteEndpoint
            | Self::DeleteWorkspace
            | Self::RevokeKey => answer.status == 404,
            Self::CancelMessage => answer.status == 409 && answer.body["code"] == "message_not_cancellable",
            _ => false,
        }
    }
}
