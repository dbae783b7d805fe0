//! A host around the runtime: a platform on this machine, and an observer that records calls.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use weir_domain::channel::{Channel, ChannelStatus, PolicyOverride};
use weir_domain::conversation::{Contact, Conversation, ConversationStatus, OpenedBy};
use weir_domain::credential::{Secret, Secrets};
use weir_domain::grant::Grants;
use weir_domain::id::Mint;
use weir_domain::inbound::RemoteMedia;
use weir_domain::manifest::{Manifest, RouteClass};
use weir_domain::message::{Content, Draft};
use weir_domain::policy::{CallKind, OriginMap, Rules, SendPermit, Stage, may_send};
use weir_domain::signature::{RawWebhook, VerifiedWebhook};
use weir_domain::time::Timestamp;
use weir_egress::{Departure, Egress, NoBodies};
use weir_runtime::context::{
    AnswerDates, CallContext, CallEnd, CallObserver, ChannelFacts, Clock, CodeSource, ConversationFacts, Host, LogLine,
    NoFence, Pacer, RecordedTranscript, Recording, Refused, State, TooLong,
};
use weir_runtime::{CacheSettings, Connector, Runtime, Settings};

pub(crate) const TOKEN: &str = "the-channels-own-token";
const KEY: [u8; 32] = [7; 32];

/// The host's time in every test.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_millis(1_735_689_600_000)
}

/// A conversation, and a picture in it whose bytes are to be located.
pub(crate) fn picture() -> (ConversationFacts, RemoteMedia) {
    let conversation = ConversationFacts {
        platform_id: "c1".into(),
        contact_id: None,
        answered: true,
    };
    let media = RemoteMedia {
        reference: "r1".into(),
        mime_type: None,
        size: None,
        filename: None,
    };
    (conversation, media)
}

/// The result of a call, and how often a neighbor on this thread ran between two polls of it.
pub(crate) async fn with_neighbor<T>(call: impl Future<Output = T>) -> (T, u32) {
    let (polls, turns) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let (polled, taken) = (Arc::clone(&polls), Arc::clone(&turns));
    let neighbor = tokio::spawn(async move {
        let mut last = 0;
        loop {
            let now = polled.load(Ordering::Relaxed);
            if now != last {
                taken.fetch_add(1, Ordering::Relaxed);
                last = now;
            }
            tokio::task::yield_now().await;
        }
    });
    let mut call = std::pin::pin!(call);
    let output = std::future::poll_fn(|context| {
        polls.fetch_add(1, Ordering::Relaxed);
        call.as_mut().poll(context)
    })
    .await;
    neighbor.abort();
    (output, turns.load(Ordering::Relaxed))
}

/// The version of the interface that is under test: each is met by every test, in a program of its own.
pub(crate) const INTERFACE: &str = if matches!(env!("CARGO_CRATE_NAME").as_bytes(), b"runtime_v0_1") {
    "0.1.0"
} else {
    "0.2.0"
};

/// The built component of this name, as it would be if it were built for the version under test.
pub(crate) fn component(name: &str) -> Bytes {
    let built = built(name);
    if INTERFACE == "0.2.0" {
        return built;
    }
    // What both versions have has the same shape, so that only the names differ, and these by one digit.
    let (newest, older) = (b"@0.2.0", b"@0.1.0");
    let mut bytes = built.to_vec();
    for at in 0..bytes.len().saturating_sub(newest.len()) {
        if bytes[at..].starts_with(newest) {
            bytes[at..at + older.len()].copy_from_slice(older);
        }
    }
    bytes.into()
}

/// The built component of this name, as it is.
pub(crate) fn built(name: &str) -> Bytes {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let folder = std::env::var_os("WEIR_CONNECTORS_DIR").map_or_else(|| target.join("connectors"), PathBuf::from);
    let path = folder.join(format!("{name}.wasm"));
    std::fs::read(&path)
        .unwrap_or_else(|error| {
            let path = path.display();
            panic!("{path}: {error}; build the connectors first, with `cargo xtask build-connectors`")
        })
        .into()
}

/// Writes down what happens.
#[derive(Default)]
pub(crate) struct Notes {
    pub(crate) ends: Mutex<Vec<(&'static str, &'static str)>>,
    pub(crate) refusals: Mutex<Vec<(&'static str, String)>>,
    pub(crate) lines: Mutex<Vec<String>>,
    pub(crate) dropped: Mutex<u32>,
    pub(crate) loaded: Mutex<Vec<CodeSource>>,
    pub(crate) ticks: Mutex<u32>,
    pub(crate) honeytoken: Mutex<Option<&'static str>>,
    pub(crate) transcripts: Mutex<Vec<String>>,
}

impl CallObserver for Notes {
    fn on_call_end(&self, end: &CallEnd<'_>) {
        self.ends.lock().unwrap().push((end.kind.as_str(), end.outcome));
        *self.dropped.lock().unwrap() = end.lines_dropped;
        *self.ticks.lock().unwrap() = end.ticks;
        *self.honeytoken.lock().unwrap() = end.honeytoken;
    }

    fn on_refusal(&self, refused: &Refused<'_>) {
        let entry = (refused.rule, refused.detail.to_owned());
        self.refusals.lock().unwrap().push(entry);
    }

    fn on_log_line(&self, line: &LogLine<'_>) {
        self.lines.lock().unwrap().push(line.text.to_owned());
    }

    fn recording(&self, _: CallKind) -> Recording {
        Recording::All
    }

    fn on_transcript(&self, transcript: &RecordedTranscript<'_>) {
        self.transcripts.lock().unwrap().push(transcript.json.clone());
    }

    fn on_loaded(&self, _: &str, source: CodeSource, _: Duration) {
        self.loaded.lock().unwrap().push(source);
    }
}

pub(crate) struct Frozen;

impl Clock for Frozen {
    fn now(&self) -> Timestamp {
        now()
    }
}

/// A host that does not care for the platform's clock.
struct NoDates;

impl AnswerDates for NoDates {
    fn answered(&self, _: &str, _: Timestamp, _: Timestamp) {}
}

/// A rate that always, or never, has a turn.
pub(crate) struct Turns(pub(crate) bool);

#[async_trait]
impl Pacer for Turns {
    async fn turn(&self, _: RouteClass) -> Result<Option<Box<dyn Departure>>, TooLong> {
        let wait = Duration::from_secs(60);
        self.0.then_some(None).ok_or(TooLong { wait })
    }
}

/// A runtime, and what it was seen to do.
pub(crate) fn runtime_in(folder: PathBuf) -> (Runtime, Arc<Notes>) {
    runtime_with(folder, weir_egress::Config::default())
}

/// The same with a way out of its own.
pub(crate) fn runtime_with(folder: PathBuf, egress: weir_egress::Config) -> (Runtime, Arc<Notes>) {
    let notes = Arc::new(Notes::default());
    let host = Host {
        egress: Egress::new(egress).unwrap(),
        bodies: Arc::new(NoBodies),
        clock: Arc::new(Frozen),
        observer: notes.clone(),
    };
    let settings = Settings {
        cache: Some(CacheSettings {
            folder,
            master_key: KEY,
        }),
        compiler: None,
        honeytoken_key: Some(KEY),
    };
    (Runtime::start(settings, host).unwrap(), notes)
}

/// Where the compiled components are that all tests share.
pub(crate) fn compiled() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("compiled")
}

/// A runtime whose compiled components are shared by all tests.
pub(crate) fn runtime() -> (Runtime, Arc<Notes>) {
    runtime_in(compiled())
}

/// The Echo connector.
pub(crate) async fn echo() -> (Connector, Arc<Notes>) {
    // The first compiles it; the others wait for that instead of doing the same.
    static FIRST: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _first = FIRST.lock().await;
    let (runtime, notes) = runtime();
    let connector = runtime.load(component("echo")).await.unwrap();
    notes.ends.lock().unwrap().clear();
    (connector, notes)
}

/// A webhook of Echo with one message.
pub(crate) fn webhook(text: &str) -> VerifiedWebhook {
    let body = serde_json::json!({
        "account": "acme",
        "events": [{"type": "message", "id": "m1", "conversation": "c1", "contact": {"id": "u1", "name": "Jane"},
                    "text": text, "at": 1_735_689_600_000_u64}],
    });
    raw_webhook(body.to_string())
}

pub(crate) fn raw_webhook(body: String) -> VerifiedWebhook {
    VerifiedWebhook::from_dead_letter(RawWebhook {
        method: "POST".into(),
        query: String::new(),
        headers: Vec::new(),
        body: body.into(),
    })
}

/// A permit to send this text.
pub(crate) fn permit(manifest: &Manifest, text: &str) -> SendPermit {
    let mint = Mint::from_seed([1; 32]);
    let channel = Channel {
        id: mint.id(now()),
        workspace_id: "default".into(),
        app: "echo".into(),
        connector: "echo".into(),
        platform: "echo".into(),
        platform_id: "acme".into(),
        name: String::new(),
        labels: BTreeMap::new(),
        username: None,
        display_name: None,
        avatar_url: None,
        country: None,
        status: ChannelStatus::Connected,
        paused: false,
        policy: PolicyOverride::default(),
        scopes: Vec::new(),
        reauthorize_by: None,
        created_at: now(),
        updated_at: now(),
        deleted_at: None,
    };
    let conversation = Conversation {
        id: mint.id(now()),
        channel_id: channel.id,
        contact: Contact {
            id: mint.id(now()),
            channel_id: channel.id,
            platform_id: "u1".into(),
            username: None,
            display_name: None,
            avatar_url: None,
            created_at: now(),
        },
        platform_id: "c1".into(),
        status: ConversationStatus::Open,
        opened_by: OpenedBy::Message,
        answered: false,
        replied: false,
        contact_wrote_at: Some(now()),
        budget_used: 0,
        images_allowed: None,
        last_message_at: None,
        unread: 0,
        referral: None,
        created_at: now(),
    };
    let rules = Rules::of(manifest, &serde_json::Value::Null, &PolicyOverride::default());
    let draft = Draft {
        content: Content::Text { text: text.into() },
        reply_to: None,
    };
    may_send(&rules, &channel, &conversation, draft, Stage::Dispatch, now()).unwrap()
}

/// A call's context whose requests to Echo go to `platform`.
pub(crate) fn context(manifest: &Manifest, platform: &Platform, state: State) -> CallContext {
    context_of("https://echo.example", manifest, platform, state)
}

/// A call's context whose requests to `origin` go to `platform`.
pub(crate) fn context_of(origin: &str, manifest: &Manifest, platform: &Platform, state: State) -> CallContext {
    let origin = origin.parse().unwrap();
    CallContext {
        channel_id: None,
        channel: ChannelFacts {
            platform_id: "acme".into(),
            username: None,
            country: None,
            settings: serde_json::json!({}),
            callback_url: "https://weir.example/hooks/echo".into(),
        },
        secrets: Secrets::default().with_access_token(Secret::new(TOKEN)),
        grants: Arc::new(Grants::to(Grants::wanted_by(manifest))),
        origins: Arc::new(OriginMap([(origin, platform.origin.parse().unwrap())].into())),
        state,
        pacer: Arc::new(Turns(true)),
        dates: Arc::new(NoDates),
        fence: Arc::new(NoFence),
    }
}

/// What the platform does with a request.
#[derive(Clone)]
pub(crate) enum Reply {
    Answer(u16, &'static str),
    /// Redirects every request.
    Redirect(&'static str),
    /// Answers with all that it was sent: in the body, in a header of its own, and as a cookie.
    Repeat,
    /// Reads it and closes the line.
    HangUp,
    /// Reads the request and never responds.
    Silence,
}

/// A platform on this machine: one scripted reply for each request; keeps the requests.
pub(crate) struct Platform {
    pub(crate) origin: String,
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
}

impl Platform {
    pub(crate) async fn that(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = requests.clone();
        let mut replies: VecDeque<Reply> = replies.into_iter().collect();
        tokio::spawn(async move {
            let mut silent = Vec::new();
            while let Some(reply) = replies.pop_front() {
                let (mut stream, _) = listener.accept().await.unwrap();
                let request = read(&mut stream).await;
                kept.lock().unwrap().push(request.clone());
                match reply {
                    Reply::Redirect(to) => {
                        let answer = format!(
                            "HTTP/1.1 302 X\r\nconnection: close\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"
                        );
                        stream.write_all(answer.as_bytes()).await.unwrap();
                    }
                    Reply::Repeat => {
                        let (line, length) = (request.replace("\r\n", " "), request.len());
                        let head = format!("set-cookie: {line}\r\nx-sent: {line}\r\ncontent-length: {length}");
                        let answer = format!("HTTP/1.1 200 X\r\nconnection: close\r\n{head}\r\n\r\n{request}");
                        stream.write_all(answer.as_bytes()).await.unwrap();
                    }
                    Reply::Answer(status, body) => {
                        let length = body.len();
                        let answer = format!(
                            "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
                        );
                        stream.write_all(answer.as_bytes()).await.unwrap();
                    }
                    Reply::HangUp => drop(stream),
                    Reply::Silence => silent.push(stream),
                }
            }
            std::future::pending::<()>().await;
        });
        Self { origin, requests }
    }

    pub(crate) fn seen(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn read(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .map_or(0, |(_, value)| value.trim().parse().unwrap());
            if body.len() >= length {
                return text;
            }
        }
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "the request ended early");
    }
}
