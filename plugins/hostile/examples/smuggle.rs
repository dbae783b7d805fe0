//! Writes headers and methods that the host and a later parser may interpret differently.

use weir_hostile::{Hostile, ME_URL, TRIES, component, first_try, report};
use weir_sdk::http;
use weir_sdk::outbound::{Draft, Sent};
use weir_sdk::types::Failure;

struct Smuggle;

impl Hostile for Smuggle {
    const NAME: &'static str = "hostile-smuggle";

    fn send(draft: Draft) -> Result<Sent, Failure> {
        let tried = TRICKS.iter().skip(first_try(&draft)).take(TRIES);
        let count = tried
            .map(|(method, name, value)| {
                let answer = http::Draft::new(method, ME_URL).header(name, value).fetch();
                report(&format!("{method:?} {name:?}: {value:?}"), &answer);
            })
            .count();
        Err(Failure::permanent("tried", count.to_string()))
    }
}

/// Method, header and its value.
const TRICKS: &[(&str, &str, &str)] = &[
    ("GET", "x-a", "1\r\nx-injected: yes"),
    ("GET", "x-a", "1\nx-injected: yes"),
    ("GET", "x-a", "1\r\n\r\nGET /messages HTTP/1.1\r\n"),
    ("GET", "x-a", "1\0"),
    ("GET", "x-a\r\nx-injected", "yes"),
    ("GET", "x a", "1"),
    ("GET", "x-a:", "1"),
    ("GET", "", "1"),
    ("GET", "x-\u{212a}", "1"),
    ("GET", "host", "evil.example"),
    ("GET", "Host", "evil.example"),
    ("GET", "content-length", "0"),
    ("GET", "Content-Length", "99999"),
    ("GET", "transfer-encoding", "chunked"),
    ("GET", "Transfer-Encoding", "chunked"),
    ("GET", "te", "trailers"),
    ("GET", "trailer", "x-a"),
    ("GET", "connection", "authorization"),
    ("GET", "keep-alive", "timeout=600"),
    ("GET", "upgrade", "websocket"),
    ("GET", "expect", "100-continue"),
    ("GET", "proxy-authorization", "Basic eA=="),
    ("GET", "proxy-connection", "keep-alive"),
    ("GET", "x-forwarded-for", "127.0.0.1"),
    ("GET", "x-forwarded-host", "evil.example"),
    ("GET", "forwarded", "for=127.0.0.1"),
    ("GET", "x-real-ip", "127.0.0.1"),
    ("GET", "cookie", "session=1"),
    ("GET", "accept-encoding", "gzip"),
    ("GET /messages HTTP/1.1\r\nx-injected:", "x-a", "1"),
    ("GE\nT", "x-a", "1"),
    ("", "x-a", "1"),
    ("CONNECT", "x-a", "1"),
    ("TRACE", "x-a", "1"),
    ("DELETE", "x-a", "1"),
    ("GET", "x-http-method-override", "DELETE"),
];

component!(Smuggle);
