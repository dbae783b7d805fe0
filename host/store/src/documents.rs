//! Tests that the documents in the database's columns stay as released: a stored text must be readable forever.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write as _};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use weir_domain::caller::Scope;
use weir_domain::channel::{Channel, ChannelStatus, PolicyOverride};
use weir_domain::credential::{Credential, Secret, Tokens};
use weir_domain::erasure::Marks;
use weir_domain::event::{self, EventFilter};
use weir_domain::grant::{Grant, Grants};
use weir_domain::id::{ChannelId, Id, Mint};
use weir_domain::inbound::RemoteMedia;
use weir_domain::manifest::RouteClass;
use weir_domain::message::{
    Attachment, Button, Content, Direction, MediaStatus, Message, MessageError, Origin, PlatformError, Referral, Status,
};
use weir_domain::policy::OriginMap;
use weir_domain::problem::Fault;
use weir_domain::record::RequestRecord;
use weir_domain::rollout::{Canary, CanaryRule};

use crate::conformance::world::{at, manifest};
use crate::tables::connect::Sealed;
use crate::tables::ledger::Head;
use crate::tables::messages::Extras;
use crate::{AdAnswer, AuditEntry, ConnectEnd, DeliveryAttempt, RefusalRecord, RefusedWhat, Signature};

/// One of each document, and where it is stored.
struct Documents {
    mint: Mint,
    lines: String,
}

impl Documents {
    fn id<I: Id>(&self) -> I {
        self.mint.id(at(0))
    }

    /// Adds the text of a document, which must deserialize to what was written.
    fn add<T: Serialize + DeserializeOwned + PartialEq + Debug>(&mut self, place: &str, document: &T) {
        let text = serde_json::to_string(document).expect("JSON");
        let read: T = serde_json::from_str(&text).expect("what was written");
        assert_eq!(&read, document, "{place}");
        writeln!(self.lines, "{place} {text}").expect("a string takes any text");
    }

    fn channel(&self) -> Channel {
        Channel {
            id: self.id(),
            workspace_id: "default".into(),
            app: "example".into(),
            connector: "example".into(),
            platform: "example".into(),
            platform_id: "account".into(),
            name: "Shop".into(),
            labels: [("team".to_owned(), "north".to_owned())].into(),
            username: Some("shop".into()),
            display_name: Some("The Shop".into()),
            avatar_url: None,
            country: Some("DE".into()),
            status: ChannelStatus::ReauthorizationRequired,
            paused: true,
            policy: PolicyOverride {
                window_ms: Some(1),
                budget_limit: Some(2),
                rate_permits: Some(3),
                text_max_chars: None,
            },
            scopes: vec!["message".into()],
            reauthorize_by: Some(at(1)),
            created_at: at(0),
            updated_at: at(2),
            deleted_at: None,
        }
    }

    fn attachment(&self) -> Attachment {
        Attachment {
            id: self.id(),
            mime_type: Some("image/png".into()),
            size: Some(7),
            url: None,
            status: Some(MediaStatus::Pending),
        }
    }

    fn contents(&self) -> Vec<Content> {
        vec![
            Content::Text { text: "hi".into() },
            Content::Image {
                media: self.attachment(),
                caption: Some("red".into()),
            },
            Content::Video {
                media: self.attachment(),
                caption: None,
            },
            Content::Audio {
                media: self.attachment(),
            },
            Content::File {
                media: self.attachment(),
                caption: None,
            },
            Content::Sticker {
                media: self.attachment(),
            },
            Content::SharedPost {
                post_id: Some("7".into()),
                url: None,
            },
            Content::Card {
                card: "links".into(),
                title: "Which?".into(),
                body: Some("Choose".into()),
                buttons: vec![Button {
                    id: "1".into(),
                    title: "Red".into(),
                    url: Some("https://example.com".into()),
                }],
            },
            Content::Location {
                latitude: 1.5,
                longitude: -2.5,
                name: Some("Shop".into()),
                address: None,
            },
            Content::Template {
                name: "hello".into(),
                language: Some("en".into()),
                parameters: json!({"1": "Jane"}),
            },
            Content::Fallback {
                original_type: "poll".into(),
                text: "A poll".into(),
                url: None,
                reason: "type_unsupported".into(),
                media: Some(self.attachment()),
            },
            Content::Custom {
                kind: "game".into(),
                document: json!({"level": 3}),
            },
        ]
    }

    fn message(&self, content: Content) -> Message {
        Message {
            id: self.id(),
            channel_id: self.id(),
            conversation_id: self.id(),
            contact_id: self.id(),
            direction: Direction::Outbound,
            origin: Origin::Api,
            status: Status::Queued,
            content,
            platform_id: None,
            reply_to: Some(self.id()),
            referral: None,
            client_ref: Some("order-17".into()),
            error: None,
            warnings: vec!["links_not_clickable".into()],
            answers: None,
            platform_data: None,
            sent_at: at(3),
            created_at: at(3),
            sequence: 4,
        }
    }

    fn referral(&self) -> Referral {
        Referral {
            id: Some(self.id()),
            source: "ad".into(),
            ad_id: Some("ad".into()),
            ad_name: Some("Red".into()),
            advertiser_id: Some("shop".into()),
            creative_id: None,
            url: Some("https://example.com/ad".into()),
            reference: Some("spring".into()),
            prefilled_text: Some("Hello".into()),
            prefill_audit: Some("passed".into()),
            at: Some(at(1)),
        }
    }
}

fn error() -> MessageError {
    MessageError {
        code: "rate_limited".into(),
        detail: "Too many".into(),
        fault: Fault::Platform,
        retryable: true,
        platform: Some(PlatformError {
            code: Some("40100".into()),
            message: Some("slow down".into()),
            request_id: None,
        }),
    }
}

fn request() -> RequestRecord {
    RequestRecord {
        route: "send".into(),
        method: "POST".into(),
        url: "https://api.example.com/send".into(),
        at: at(1),
        status: Some(200),
        elapsed_ms: 12,
        error: None,
    }
}

fn credential() -> Credential {
    Credential {
        access_token: Secret::new("access"),
        refresh_token: Some(Secret::new("refresh")),
        expires_at: Some(at(9)),
        refresh_expires_at: None,
        renewed_at: at(0),
    }
}

fn of_messages(of: &mut Documents) {
    for content in of.contents() {
        of.add("messages.content", &content);
    }
    of.add("messages.error", &error());
    of.add("messages.extras", &Extras::default());
    let extras = Extras {
        referral: Some(of.referral()),
        warnings: vec!["links_not_clickable".into()],
        answers: Some("1".into()),
        platform_data: Some(json!({"any": 1})),
    };
    of.add("messages.extras", &extras);
    of.add("early_receipts.error", &error());
    of.add("attempts.error", &error());
    of.add("attempts.requests", &vec![request()]);
    let remote = RemoteMedia {
        reference: "picture".into(),
        mime_type: Some("image/png".into()),
        size: Some(7),
        filename: None,
    };
    of.add("media.remote", &remote);
    of.add("referrals.referral", &of.referral());
    of.add("conversations.referral", &of.referral());
    let ad = AdAnswer {
        preview: Some(json!({"title": "Red"})),
        reason: None,
        detail: None,
        at: at(1),
        until: at(2),
    };
    of.add("referrals.ad", &ad);
    of.add("erasures.marks", &Marks::new(["jane".to_owned()]));
}

fn of_channels(of: &mut Documents) {
    of.add("channels.channel", &of.channel());
    of.add("credentials.credential", &credential());
    of.add(
        "state_owners.copy",
        &BTreeMap::from([("cursor".to_owned(), vec![1_u8, 2])]),
    );
    of.add(
        "moved_states.state",
        &BTreeMap::from([("cursor".to_owned(), vec![3_u8])]),
    );
    let ends = [
        ConnectEnd::Pending,
        ConnectEnd::Taken,
        ConnectEnd::Succeeded { channel_id: of.id() },
        ConnectEnd::Failed {
            code: "denied".into(),
            detail: "no".into(),
        },
        ConnectEnd::Expired,
    ];
    for end in ends {
        of.add("connect_sessions.end", &end);
    }
    let session = Sealed {
        workspace_id: "default".into(),
        app: "example".into(),
        channel_id: Some(of.id()),
        name: Some("Shop".into()),
        labels: BTreeMap::new(),
        country: None,
        redirect_url: Some("https://example.com/back".into()),
        state: Secret::new("state"),
        browser: Secret::new("browser"),
        verifier: Secret::new("verifier"),
        created_at: at(0),
        expires_at: at(600),
    };
    of.add("connect_sessions.session", &session);
    let tokens = Tokens {
        credential: credential(),
        scopes: Some(vec!["message".into()]),
        platform_id: Some("account".into()),
    };
    of.add("connect_sessions.tokens", &tokens);
    of.add("apps.settings", &json!({"region": "EU"}));
    of.add(
        "apps.secrets",
        &BTreeMap::from([("client_secret".to_owned(), vec![Secret::new("app")])]),
    );
    of.add("apps.origins", &OriginMap::default());
}

fn of_versions(of: &mut Documents) {
    let grant = Grant {
        capability: "http".into(),
        route: "send".into(),
        method: "POST".into(),
        origin: "https://api.example.com".into(),
        path: "/send".into(),
        class: RouteClass::MessageSend,
        secrets: vec!["access_token".into()],
        places: vec!["header Access-Token".into()],
        body_has: vec!["/message_type = TEXT".into()],
        terms: None,
        why: "Sends messages".into(),
    };
    of.add("grants.grants", &Grants::to(vec![grant]));
    of.add("versions.manifest", &manifest("1.0.0", 1));
    let signature = Signature {
        status: "verified".into(),
        key: Some("RWQ".into()),
        text: None,
    };
    of.add("versions.signature", &signature);
    let canary = Canary {
        percent: 10,
        rule: CanaryRule::default(),
        since: at(0),
    };
    of.add("versions.canary", &canary);
}

fn of_the_ledger(of: &mut Documents) {
    let filter = EventFilter {
        types: ["message.received".to_owned()].into(),
        channels: [of.id()].into(),
        conversation: None,
    };
    of.add("endpoints.filter", &filter);
    let attempt = DeliveryAttempt {
        number: 1,
        at: at(1),
        status: Some(503),
        answer: Some("later".into()),
        elapsed_ms: 30,
        error: None,
    };
    of.add("delivery_attempts.attempt", &attempt);
    of.add("keys.scopes", &BTreeSet::from(Scope::ALL));
    of.add("keys.channels", &BTreeSet::from([of.id::<ChannelId>()]));
    let head = Head {
        method: "POST".into(),
        query: "a=b".into(),
        headers: vec![("content-type".into(), "application/json".into())],
    };
    of.add("dead_letters.head", &head);
    let refusal = RefusalRecord {
        id: of.id(),
        workspace_id: "default".into(),
        channel_id: Some(of.id()),
        conversation_id: None,
        message_id: None,
        about: RefusedWhat::Send,
        whom: "example".into(),
        rule: "window_closed".into(),
        detail: "The window closed".into(),
        facts: json!({"closed_at": at(1)}),
        changes: "never".into(),
        remedy: "Wait".into(),
        at: at(2),
    };
    of.add("refusals.refusal", &refusal);
    let entry = AuditEntry {
        at: at(1),
        workspace_id: "default".into(),
        actor: "key".into(),
        action: "channel.update".into(),
        subject: "shop".into(),
        detail: json!({"name": "Shop"}),
    };
    of.add("audit.entry", &entry);
}

/// Run with `WEIR_WRITE_DOCS=1` to regenerate the file. A line that changes or disappears requires code that reads what
/// older versions stored.
#[test]
fn stored_documents_are_as_released() {
    let mut documents = Documents {
        mint: Mint::from_seed([3; 32]),
        lines: String::new(),
    };
    of_messages(&mut documents);
    of_channels(&mut documents);
    of_versions(&mut documents);
    of_the_ledger(&mut documents);
    let message = documents.message(Content::Text { text: "hi".into() });
    let answer = vec![event::Message::from(message)];
    documents.add("claims.body", &answer);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("documents.txt");
    if std::env::var_os("WEIR_WRITE_DOCS").is_some() {
        std::fs::write(&path, &documents.lines).expect("the fixture can be written");
    }
    let released = std::fs::read_to_string(&path).expect("the fixture is there");
    for (now, then) in documents.lines.lines().zip(released.lines()) {
        assert_eq!(now, then);
    }
    assert_eq!(documents.lines, released);
}
