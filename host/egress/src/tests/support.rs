//! A scripted server, and permits for requests to it.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use weir_domain::credential::{Secret, Secrets};
use weir_domain::grant::{Grant, Grants};
use weir_domain::manifest::{Route, RouteClass, SecretPlace, SecretUse};
use weir_domain::policy::{
    Call, CallKind, EgressPermit, OriginMap, Reach, Request, RequestBody, may_call, may_deliver,
};

use crate::{Answer, Config, Egress, EgressError, NoBodies, Resolve};

/// The platform's origin in these tests; mapped to the server.
pub(super) const PLATFORM: &str = "https://platform.example";
/// Long enough for a busy machine; no test waits for it.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a test waits for on purpose.
pub(super) const SHORT: Duration = Duration::from_millis(50);
/// For a pause after bytes that must arrive before it, however busy the machine is.
pub(super) const SILENCE: Duration = Duration::from_secs(2);

/// One thing that the server does after it has read a request.
#[derive(Clone)]
pub(super) enum Step {
    Write(Vec<u8>),
    /// Writes this until the client closes the connection.
    Endlessly(Vec<u8>),
    /// Writes one byte now and then, without end.
    Drip,
    /// Waits until the other side goes.
    Hang,
    /// Ends the connection, the request unread.
    CloseUnread,
    Close,
}

/// A request as it came over the wire.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Seen {
    pub(super) fn request_line(&self) -> &str {
        self.head.lines().next().expect("a request line")
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers(name);
        let first = found.next();
        assert!(found.next().is_none(), "{name} appears twice");
        first
    }

    pub(super) fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        self.head.lines().skip(1).filter_map(move |line| {
            let (have, value) = line.split_once(": ")?;
            have.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub(super) fn text(&self) -> String {
        format!("{}\r\n\r\n{}", self.head, String::from_utf8_lossy(&self.body))
    }
}

#[derive(Default)]
struct Record {
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
}

/// A server on 127.0.0.1 that answers every request with the same steps.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    record: Arc<Record>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(super) async fn doing(steps: Vec<Step>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let record = Arc::new(Record::default());
        let kept = Arc::clone(&record);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                kept.connections.fetch_add(1, Ordering::SeqCst);
                let (steps, kept) = (steps.clone(), Arc::clone(&kept));
                tokio::spawn(async move { serve(stream, &steps, &kept).await });
            }
        });
        Self { address, record, task }
    }

    pub(super) async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        Self::doing(vec![Step::Write(answer.into())]).await
    }

    pub(super) async fn saying(body: &str) -> Self {
        Self::answering(ok(body)).await
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.record.seen.lock().expect("no panic").clone()
    }

    /// The one request that came.
    pub(super) fn only(&self) -> Seen {
        let mut seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.remove(0)
    }

    pub(super) fn connections(&self) -> usize {
        self.record.connections.load(Ordering::SeqCst)
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// A whole answer with this body.
pub(super) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// An address where nothing listens.
pub(super) async fn unused_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("an address")
}

async fn serve(mut stream: TcpStream, steps: &[Step], record: &Record) {
    while let Ok(seen) = read_request(&mut stream, steps).await {
        record.seen.lock().expect("no panic").push(seen);
        for step in steps {
            let done = match step {
                Step::Write(bytes) => stream.write_all(bytes).await,
                Step::Endlessly(bytes) => loop {
                    if let Err(error) = stream.write_all(bytes).await {
                        break Err(error);
                    }
                },
                Step::Drip => loop {
                    tokio::time::sleep(SHORT / 10).await;
                    if let Err(error) = stream.write_all(b"a").await {
                        break Err(error);
                    }
                },
                Step::Hang => stream.read_u8().await.map(|_| ()),
                Step::Close | Step::CloseUnread => return,
            };
            if done.is_err() {
                return;
            }
        }
    }
}

async fn read_request(stream: &mut TcpStream, steps: &[Step]) -> io::Result<Seen> {
    if matches!(steps, [Step::CloseUnread]) {
        return Err(io::ErrorKind::Other.into());
    }
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).expect("a head of text").trim_end().to_owned();
    let mut seen = Seen { head, body: Vec::new() };
    let length = seen
        .header("content-length")
        .map_or(0, |length| length.parse().expect("a length"));
    assert!(
        seen.header("transfer-encoding").is_none(),
        "lengths are known beforehand"
    );
    seen.body.resize(length, 0);
    stream.read_exact(&mut seen.body).await?;
    Ok(seen)
}

/// A resolver with the test's results: each lookup takes the next result, and the last one repeats.
pub(super) struct Names {
    answers: Vec<Vec<IpAddr>>,
    pub(super) requests: AtomicUsize,
}

impl Names {
    pub(super) fn new(answers: &[&[&str]]) -> Arc<Self> {
        let parse = |text: &&str| text.parse().expect("an address");
        Arc::new(Self {
            answers: answers
                .iter()
                .map(|answer| answer.iter().map(parse).collect())
                .collect(),
            requests: AtomicUsize::new(0),
        })
    }
}

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        let requests = self.requests.fetch_add(1, Ordering::SeqCst);
        let answer = self.answers.get(requests).or(self.answers.last());
        answer.cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// A resolver for tests that resolve nothing.
struct NoNames;

#[async_trait]
impl Resolve for NoNames {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        panic!("{host} was resolved");
    }
}

pub(super) fn config() -> Config {
    Config {
        connect: PATIENCE,
        read: PATIENCE,
        request: PATIENCE,
        endpoint: PATIENCE,
        stream_idle: PATIENCE,
        resolver: Arc::new(NoNames),
        ..Config::default()
    }
}

pub(super) fn egress() -> Egress {
    Egress::new(config()).expect("a configuration")
}

pub(super) fn secret_at(secret: &str, place: SecretPlace, prefix: &str) -> SecretUse {
    SecretUse {
        secret: secret.into(),
        place,
        prefix: prefix.into(),
    }
}

/// The app's secrets, and the channel's token.
pub(super) fn secrets(pairs: &[(&str, &str)]) -> Secrets {
    let pairs = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), Secret::new(*value)));
    Secrets::of_app(pairs.collect::<BTreeMap<_, _>>())
}

/// A connector's request: GET, or POST if it has a body.
pub(super) fn request(path: &str, body: RequestBody) -> Request {
    Request {
        method: if matches!(body, RequestBody::Empty) {
            "GET"
        } else {
            "POST"
        }
        .parse()
        .expect("a method"),
        url: format!("{PLATFORM}{path}").parse().expect("a URL"),
        headers: Vec::new(),
        body,
    }
}

/// The permit of a connector whose platform is mapped to `sandbox`.
pub(super) fn permit_to(sandbox: &str, request: Request, uses: Vec<SecretUse>) -> EgressPermit {
    let route = Route {
        id: "route".into(),
        method: request.method.to_string(),
        origin: PLATFORM.parse().expect("a pattern"),
        path: "/**".parse().expect("a path"),
        class: RouteClass::Read,
        body_has: Vec::new(),
        secrets: uses,
        why: String::new(),
    };
    let grant = Grant::of(&route, &[]);
    let origin = |text: &str| text.parse().expect("an origin");
    let origins = match sandbox {
        "" => OriginMap::default(),
        sandbox => OriginMap([(origin(PLATFORM), origin(sandbox))].into()),
    };
    let mut call = Call::new(CallKind::History);
    may_call(&mut call, &[route], &Grants::to(vec![grant]), &origins, request).expect("the judge lets it through")
}

pub(super) fn permit(server: &Server, request: Request, uses: Vec<SecretUse>) -> EgressPermit {
    permit_to(&format!("http://{}", server.address), request, uses)
}

pub(super) fn get(server: &Server) -> EgressPermit {
    permit(server, request("/a", RequestBody::Empty), Vec::new())
}

/// The permit to hand an event to the operator's endpoint.
pub(super) fn delivery(server: &Server) -> EgressPermit {
    let request = Request {
        url: server.url("/hook").parse().expect("a URL"),
        ..request("/", RequestBody::Bytes("{}".into()))
    };
    may_deliver(request, Reach::OperatorSet).expect("the judge lets it through")
}

/// Sends without secrets and stored bytes.
pub(super) async fn send(egress: &Egress, permit: EgressPermit) -> Result<Answer, EgressError> {
    egress.send(permit, &Secrets::default(), &NoBodies).await
}

pub(super) fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    let found = answer.headers.iter().find(|(have, _)| have == name);
    found.map(|(_, value)| value.as_str())
}
