//! All requests that this connector may send.

use weir_sdk::descriptor::{BodyMember, Route, RouteClass, SecretPlace, SecretUse};

use crate::wire;

/// Origins of TikTok that `download_url` may have; TikTok does not document which one it is.
const MEDIA_ORIGINS: [(&str, &str); 4] = [
    ("media-cdn", "https://*.tiktokcdn.com"),
    ("media-cdn-us", "https://*.tiktokcdn-us.com"),
    ("media-cdn-eu", "https://*.tiktokcdn-eu.com"),
    ("media-video", "https://*.tiktokv.com"),
];

pub(super) fn routes() -> Vec<Route> {
    use RouteClass::{Media, MessageSend, Read, Setup, Signal};
    let mut routes = vec![
        sending("send-text", "TEXT", MessageSend, "Sends text."),
        sending("send-image", "IMAGE", MessageSend, "Sends pictures."),
        sending(
            "send-shared-post",
            "SHARE_POST",
            MessageSend,
            "Sends the account's own posts, if switched on.",
        ),
        sending("send-card", "TEMPLATE", MessageSend, "Sends questions with buttons."),
        sending(
            "signal",
            "SENDER_ACTION",
            Signal,
            "Shows a typing indicator or a read receipt to the contact.",
        ),
        account(
            "upload",
            "POST",
            wire::UPLOAD,
            Media,
            "Uploads a picture before it is sent.",
        ),
        account(
            "download",
            "POST",
            wire::DOWNLOAD,
            Read,
            "Gets the download URL of a picture or video in a message.",
        ),
        account(
            "capabilities",
            "GET",
            wire::CAPABILITIES,
            Read,
            "Checks whether a conversation supports pictures.",
        ),
        account(
            "conversations",
            "GET",
            wire::CONVERSATIONS,
            Read,
            "Finds messages that no webhook delivered.",
        ),
        account(
            "messages",
            "GET",
            wire::MESSAGES,
            Read,
            "Finds messages that no webhook delivered, and names of contacts.",
        ),
        account(
            "account",
            "GET",
            wire::ACCOUNT,
            Read,
            "Reads the account's name, picture and kind.",
        ),
        Route {
            secrets: vec![
                secret("client_key", SecretPlace::BodyMember("/app_id".into())),
                secret("access_token", SecretPlace::BodyMember("/access_token".into())),
            ],
            ..account(
                "token-info",
                "POST",
                wire::TOKEN_INFO,
                Read,
                "Reads which permissions were granted.",
            )
        },
        Route {
            secrets: vec![
                secret("client_key", SecretPlace::Query("app_id".into())),
                secret("client_secret", SecretPlace::Query("secret".into())),
            ],
            ..account(
                "webhook-list",
                "GET",
                wire::WEBHOOK_LIST,
                Read,
                "Reads where TikTok sends the app's webhooks.",
            )
        },
        Route {
            secrets: vec![
                secret("client_key", SecretPlace::BodyMember("/app_id".into())),
                secret("client_secret", SecretPlace::BodyMember("/secret".into())),
            ],
            ..account(
                "webhook-update",
                "POST",
                wire::WEBHOOK_UPDATE,
                Setup,
                "Sets the app's webhook URL at TikTok.",
            )
        },
    ];
    for (name, method, class) in [
        ("get", "GET", Read),
        ("create", "POST", Setup),
        ("update", "POST", Setup),
        ("status/update", "POST", Setup),
        ("delete", "POST", Setup),
        ("sort", "POST", Setup),
    ] {
        let id = format!("auto-message-{}", name.replace('/', "-"));
        let path = format!("{}/{name}/", wire::AUTO_MESSAGE);
        routes.push(account(
            &id,
            method,
            &path,
            class,
            "Manages welcome messages, suggested questions and chat prompts.",
        ));
    }
    for (name, method, class) in [("get", "GET", Read), ("update", "POST", Setup)] {
        let path = format!("{}/{name}/", wire::DIRECT_REPLY);
        routes.push(account(
            &format!("direct-reply-{name}"),
            method,
            &path,
            class,
            "Manages Comment-to-Message.",
        ));
    }
    routes.push(bytes("media", wire::ORIGIN, "/media/**"));
    routes.extend(MEDIA_ORIGINS.iter().map(|(id, origin)| bytes(id, origin, "/**")));
    routes
}

/// A call for one account, with its token in TikTok's own header.
fn account(id: &str, method: &str, path: &str, class: RouteClass, why: &str) -> Route {
    Route {
        id: id.into(),
        method: method.into(),
        origin: wire::ORIGIN.into(),
        path: format!("{}{path}", wire::BASE),
        class,
        body_has: Vec::new(),
        secrets: vec![secret("access_token", SecretPlace::Header("Access-Token".into()))],
        why: why.into(),
    }
}

/// The send endpoint, for one of its message types: a message and a typing indicator differ only there.
fn sending(id: &str, message_type: &str, class: RouteClass, why: &str) -> Route {
    Route {
        body_has: vec![BodyMember {
            pointer: "/message_type".into(),
            value: message_type.into(),
        }],
        ..account(id, "POST", wire::SEND, class, why)
    }
}

/// Bytes at a `download_url`, which requires the token in a header of another name (Download an image or a video).
fn bytes(id: &str, origin: &str, path: &str) -> Route {
    Route {
        id: id.into(),
        method: "GET".into(),
        origin: origin.into(),
        path: path.into(),
        class: RouteClass::Media,
        body_has: Vec::new(),
        secrets: vec![secret("access_token", SecretPlace::Header("x-user".into()))],
        why: "Fetches pictures and videos that contacts send.".into(),
    }
}

fn secret(name: &str, place: SecretPlace) -> SecretUse {
    SecretUse {
        secret: name.into(),
        place,
        prefix: String::new(),
    }
}
