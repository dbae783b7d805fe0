//! Responses: complete, bounded, or missing, and the error of a request without one.

use std::time::Duration;

use weir_domain::credential::Secrets;
use weir_domain::limits;
use weir_domain::policy::{EgressPermit, RequestBody, may_follow_clock};

use super::support::{
    SHORT, SILENCE, Server, Step, config, delivery, egress, get, header, ok, permit_to, request, send, unused_address,
};
use crate::{Config, Egress, EgressError};

fn answer_of(size: usize) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + size, b'a');
    answer
}

fn seen_without_answer(error: &EgressError) -> bool {
    matches!(error, EgressError::NoAnswer { .. }) && error.may_have_been_seen()
}

#[tokio::test]
async fn an_answer_comes_whole_whatever_its_status() {
    let server =
        Server::answering("HTTP/1.1 429 Too Many Requests\r\nretry-after: 5\r\ncontent-length: 2\r\n\r\n{}").await;
    let answer = send(&egress(), get(&server)).await.expect("an answer");
    assert_eq!((answer.status, &answer.body[..]), (429, &b"{}"[..]));
    assert_eq!(header(&answer, "retry-after"), Some("5"));
}

#[tokio::test]
async fn connection_is_reused() {
    let server = Server::saying("hi").await;
    let egress = egress();
    for _ in 0..3 {
        send(&egress, get(&server)).await.expect("an answer");
    }
    assert_eq!((server.seen().len(), server.connections()), (3, 1));
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let answer = "HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n";
    let server = Server::answering(answer).await;
    let answer = send(&egress(), get(&server)).await.expect("an answer");
    assert_eq!((answer.status, header(&answer, "location")), (302, Some("/elsewhere")));
    assert_eq!(server.only().request_line(), "GET /a HTTP/1.1");
}

#[tokio::test]
async fn an_answer_is_taken_up_to_its_largest_and_no_further() {
    let server = Server::answering(answer_of(limits::ANSWER_BYTES)).await;
    let answer = send(&egress(), get(&server)).await.expect("an answer");
    assert_eq!(answer.body.len(), limits::ANSWER_BYTES);
    let server = Server::answering(answer_of(limits::ANSWER_BYTES + 1)).await;
    let error = send(&egress(), get(&server)).await.expect_err("too large");
    assert!(matches!(error, EgressError::TooLarge { limit } if limit == limits::ANSWER_BYTES as u64));
    assert!(error.may_have_been_seen());
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let text = "a".repeat(1_000);
    for (head, more) in [
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            format!("3e8\r\n{text}\r\n"),
        ),
        ("HTTP/1.1 200 OK\r\n\r\n", text.clone()),
    ] {
        let server = Server::doing(vec![Step::Write(head.into()), Step::Endlessly(more.into())]).await;
        let error = send(&egress(), get(&server)).await.expect_err("too large");
        assert!(matches!(error, EgressError::TooLarge { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_head_without_end_is_cut_off() {
    for more in ["x-a: a\r\n".repeat(1_000), "a".repeat(8_000)] {
        let server = Server::doing(vec![
            Step::Write("HTTP/1.1 200 OK\r\nx-b: ".into()),
            Step::Endlessly(more.into()),
        ])
        .await;
        let error = send(&egress(), get(&server)).await.expect_err("no end");
        assert!(seen_without_answer(&error), "{error}");
    }
}

#[tokio::test]
async fn headers_are_passed_on_up_to_a_bound() {
    let answer = |count: usize| {
        let headers: String = (0..count).map(|i| format!("x-{i}: a\r\n")).collect();
        format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n{headers}\r\n")
    };
    let server = Server::answering(answer(limits::HEADERS)).await;
    assert_eq!(
        send(&egress(), get(&server)).await.expect("an answer").headers.len(),
        limits::HEADERS
    );
    let server = Server::answering(answer(limits::HEADERS + 1)).await;
    assert!(seen_without_answer(
        &send(&egress(), get(&server)).await.expect_err("too many")
    ));
    let long = format!(
        "HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 0\r\n\r\n",
        "a".repeat(limits::HEADER_BYTES + 1)
    );
    let server = Server::answering(long).await;
    assert!(seen_without_answer(
        &send(&egress(), get(&server)).await.expect_err("too long")
    ));
}

#[tokio::test]
async fn headers_of_the_connection_and_cookies_stay_with_the_host() {
    let server = Server::answering(
        "HTTP/1.1 200 OK\r\nset-cookie: a=b\r\nSet-Cookie: c=d\r\nconnection: x-hop\r\nx-hop: 1\r\nkeep-alive: 5\r\n\
         authorization: a\r\nproxy-authenticate: a\r\nx-stays: 1\r\ncontent-length: 0\r\n\r\n",
    )
    .await;
    let answer = send(&egress(), get(&server)).await.expect("an answer");
    assert_eq!(answer.headers, [("x-stays".to_owned(), "1".to_owned())]);
}

#[tokio::test]
async fn compression_is_not_requested_or_accepted() {
    // 11 bytes that do not reveal their decompressed size.
    let bomb = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\n\x1f\x08\x00";
    let server = Server::answering(bomb).await;
    let error = send(&egress(), get(&server)).await.expect_err("compressed");
    assert!(seen_without_answer(&error), "{error}");
    assert_eq!(server.only().header("accept-encoding"), Some("identity"));
    let plain = "HTTP/1.1 200 OK\r\ncontent-encoding: identity\r\ncontent-length: 0\r\n\r\n";
    let server = Server::answering(plain).await;
    assert!(send(&egress(), get(&server)).await.is_ok());
}

#[tokio::test]
async fn refused_connection_was_not_seen() {
    let permit = permit_to(
        &format!("http://{}", unused_address().await),
        request("/a", RequestBody::Empty),
        Vec::new(),
    );
    let error = send(&egress(), permit).await.expect_err("no server listens");
    assert!(matches!(error, EgressError::Unreachable { .. }), "{error}");
    assert!(!error.may_have_been_seen());
}

#[tokio::test]
async fn a_request_without_a_whole_answer_may_have_been_seen() {
    let cases: [(&str, Vec<Step>); 6] = [
        ("closed after the request", vec![Step::Close]),
        (
            "closed inside the head",
            vec![Step::Write("HTTP/1.1 200 OK\r\nconte".into()), Step::Close],
        ),
        (
            "closed inside the body",
            vec![
                Step::Write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".into()),
                Step::Close,
            ],
        ),
        (
            "closed between chunks",
            vec![
                Step::Write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n".into()),
                Step::Close,
            ],
        ),
        (
            "not HTTP",
            vec![Step::Write("SSH-2.0-OpenSSH_9.2\r\n".into()), Step::Close],
        ),
        (
            "two lengths",
            vec![Step::Write(
                "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nhi".into(),
            )],
        ),
    ];
    for (what, steps) in cases {
        let server = Server::doing(steps).await;
        let error = send(&egress(), get(&server)).await.expect_err(what);
        assert!(seen_without_answer(&error), "{what}: {error}");
        assert_eq!(server.seen().len(), 1, "{what}: nothing is sent again");
    }
}

/// In virtual time: it passes once both sides wait, however busy the machine is.
#[tokio::test(start_paused = true)]
async fn silence_ends_in_time() {
    let short_request: WithTime = |time| Config {
        request: time,
        ..config()
    };
    let short_read: WithTime = |time| Config { read: time, ..config() };
    let head = || Step::Write("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\na".into());
    let cases = [
        ("no head", short_request, vec![Step::Hang]),
        ("no body", short_read, vec![head(), Step::Hang]),
        ("a dripping body", short_request, vec![head(), Step::Drip]),
        (
            "a dripping head",
            short_request,
            vec![Step::Write("HTTP/1.1 200 OK\r\nx: ".into()), Step::Drip],
        ),
    ];
    for (what, config, steps) in cases {
        let server = Server::doing(steps).await;
        let error = ended_by_time(&server, config, get).await;
        assert!(seen_without_answer(&error), "{what}: {error}");
    }
}

/// A configuration with so much time for what is tried.
type WithTime = fn(Duration) -> Config;

/// How a request ends whose time is over before its answer, in a time that is long enough on this machine for the
/// server to see it.
async fn ended_by_time(
    server: &Server,
    config: impl Fn(Duration) -> Config,
    permit: impl Fn(&Server) -> EgressPermit,
) -> EgressError {
    let mut time = SHORT;
    loop {
        let egress = Egress::new(config(time)).expect("a configuration");
        let error = send(&egress, permit(server))
            .await
            .expect_err("there is no whole answer");
        if !server.seen().is_empty() {
            return error;
        }
        time *= 2;
    }
}

#[tokio::test]
async fn of_an_endpoint_the_status_counts_and_the_beginning_is_kept() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n";
    let cases: [(&str, Vec<Step>, usize); 4] = [
        (
            "large",
            vec![Step::Write(answer_of(1_000_000))],
            limits::ENDPOINT_ANSWER_BYTES,
        ),
        (
            "broken off",
            vec![Step::Write(format!("{head}half").into()), Step::Close],
            4,
        ),
        ("silent", vec![Step::Write(format!("{head}half").into()), Step::Hang], 4),
        (
            "compressed",
            vec![Step::Write(
                "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc".into(),
            )],
            3,
        ),
    ];
    for (what, steps, kept) in cases {
        let server = Server::doing(steps).await;
        let read = if what == "silent" { SILENCE } else { config().read };
        let egress = Egress::new(Config { read, ..config() }).expect("a configuration");
        let answer = send(&egress, delivery(&server)).await.expect(what);
        assert_eq!((answer.status, answer.body.len()), (200, kept), "{what}");
    }
    let server = Server::doing(vec![Step::Hang]).await;
    let short = |time| Config {
        endpoint: time,
        ..config()
    };
    assert!(seen_without_answer(&ended_by_time(&server, short, delivery).await));
}

#[tokio::test]
async fn bytes_are_fetched_up_to_a_bound() {
    let fetch = async |server: &Server, max_bytes| {
        let mut file = Vec::new();
        let fetched = egress()
            .fetch(get(server), &Secrets::default(), max_bytes, &mut file)
            .await;
        (fetched, file)
    };
    let server = Server::saying("a picture").await;
    let (fetched, file) = fetch(&server, 9).await;
    let fetched = fetched.expect("fetched");
    assert_eq!((fetched.status, fetched.bytes, &file[..]), (200, 9, &b"a picture"[..]));
    let (fetched, _) = fetch(&server, 8).await;
    assert!(matches!(fetched, Err(EgressError::TooLarge { limit: 8 })));

    let missing = Server::answering("HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\nhtml").await;
    let (fetched, file) = fetch(&missing, 9).await;
    assert_eq!((fetched.expect("fetched").status, file.len()), (404, 0));

    let half = Server::doing(vec![
        Step::Write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\na pic".into()),
        Step::Close,
    ])
    .await;
    let (fetched, _) = fetch(&half, 9).await;
    assert!(seen_without_answer(&fetched.err().expect("half")));
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_the_hosts_trouble() {
    let server = Server::saying("a picture").await;
    let (mut file, reader) = tokio::io::duplex(1);
    drop(reader);
    let fetched = egress().fetch(get(&server), &Secrets::default(), 9, &mut file).await;
    assert!(matches!(fetched, Err(EgressError::Sink(_))));
}

#[tokio::test]
async fn the_operators_own_programs_read_a_stream_as_it_comes() {
    let event = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n";
    let server = Server::doing(vec![Step::Write(event.into()), Step::Hang]).await;
    let to_stream = || {
        let mut request = request("/", RequestBody::Empty);
        request.url = server.url("/v1/events/stream").parse().expect("a URL");
        may_follow_clock(request)
    };
    let egress = Egress::new(Config {
        // Over long before the stream ends: only its head is hurried.
        request: Duration::from_secs(60),
        stream_idle: SILENCE,
        ..config()
    })
    .expect("a configuration");
    let mut stream = egress.stream(to_stream()).await.expect("a stream");
    assert_eq!(stream.status, 200);
    assert_eq!(
        stream.next().await.expect("an event").as_deref(),
        Some(&b"data: 1\n\n"[..])
    );
    assert!(seen_without_answer(&stream.next().await.expect_err("silence")));

    let ends = Server::answering(ok("")).await;
    let refused = egress.stream(get(&ends)).await;
    assert!(matches!(refused, Err(EgressError::Refused(_))));
    assert_eq!(ends.connections(), 0);
}
