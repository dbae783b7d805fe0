//! Only checked addresses are dialed.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::net::TcpListener;
use weir_domain::policy::{Reach, Request, RequestBody, may_deliver, may_fetch};

use super::support::{Names, SHORT, Server, config, egress, get, permit_to, request, send};
use crate::{Config, Egress, EgressError, Refused};

/// An unassigned public address, so that no packet of a test arrives anywhere.
const NOWHERE: &str = "2000::1";

fn with_names(names: &Arc<Names>) -> Egress {
    Egress::new(Config {
        connect: SHORT,
        resolver: Arc::clone(names) as _,
        ..config()
    })
    .expect("a configuration")
}

fn is_address_refusal(error: &EgressError) -> bool {
    matches!(error, EgressError::Refused(Refused::Address(_))) && !error.may_have_been_seen()
}

#[tokio::test]
async fn a_name_that_turns_inward_is_not_dialed() {
    let server = Server::saying("inside").await;
    let names = Names::new(&[&[NOWHERE], &["127.0.0.1"]]);
    let egress = with_names(&names);
    let url = format!("https://rebind.example:{}/", server.address.port());
    let permit = || {
        let request = Request {
            url: url.parse().expect("a URL"),
            ..request("/", RequestBody::Empty)
        };
        may_deliver(request, Reach::Public).expect("the judge sees a name")
    };
    // The checked address is dialed, whatever the name resolves to a moment later.
    let error = send(&egress, permit()).await.expect_err("no server listens");
    assert!(matches!(error, EgressError::Unreachable { .. }), "{error}");
    assert_eq!(names.requests.load(Ordering::SeqCst), 1, "a name is resolved once");
    let error = send(&egress, permit()).await.expect_err("inside");
    assert!(is_address_refusal(&error), "{error}");
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn of_several_addresses_only_the_public_ones_are_dialed() {
    let server = Server::saying("inside").await;
    let names = Names::new(&[&["127.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", NOWHERE]]);
    let url = format!("https://half-inside.example:{}/", server.address.port());
    let request = Request {
        url: url.parse().expect("a URL"),
        ..request("/", RequestBody::Empty)
    };
    let permit = may_deliver(request, Reach::Public).expect("the judge sees a name");
    let error = send(&with_names(&names), permit).await.expect_err("no server listens");
    assert!(matches!(error, EgressError::Unreachable { .. }), "{error}");
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn an_address_written_as_such_is_judged_too() {
    for host in [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "169.254.169.254",
        "[64:ff9b::a9fe:a9fe]",
    ] {
        let permit =
            may_fetch(format!("https://{host}/").parse().expect("a URL")).expect("the judge of URLs lets it by");
        let error = send(&egress(), permit).await.expect_err(host);
        assert!(is_address_refusal(&error), "{host}: {error}");
    }
}

#[tokio::test]
async fn a_mapped_origin_reaches_this_machine_and_no_other() {
    let server = Server::saying("hi").await;
    let sandbox = format!("http://localhost:{}", server.address.port());
    let permit = || permit_to(&sandbox, request("/a", RequestBody::Empty), Vec::new());
    for elsewhere in [NOWHERE, "10.0.0.1", "169.254.169.254"] {
        let error = send(&with_names(&Names::new(&[&[elsewhere]])), permit())
            .await
            .expect_err(elsewhere);
        assert!(is_address_refusal(&error), "{elsewhere}: {error}");
    }
    // Where one address does not answer, the next one is tried.
    let names = Names::new(&[&["10.0.0.1", "::1", "127.0.0.1"]]);
    let egress = Egress::new(Config {
        resolver: names,
        ..config()
    })
    .expect("a configuration");
    assert_eq!(send(&egress, permit()).await.expect("an answer").status, 200);
}

#[tokio::test]
async fn a_name_without_addresses_is_not_reachable() {
    for names in [Names::new(&[]), Names::new(&[&[]])] {
        let permit = may_fetch("https://nowhere.example/".parse().expect("a URL")).expect("the judge sees a name");
        let error = send(&with_names(&names), permit).await.expect_err("no address");
        assert!(matches!(error, EgressError::Unreachable { .. }), "{error}");
    }
}

/// Set in the process that this test starts of itself.
const INNER: &str = "WEIR_EGRESS_TEST_BEHIND_A_PROXY";

#[tokio::test]
async fn proxy_from_environment_is_ignored() {
    if std::env::var_os(INNER).is_some() {
        let server = Server::saying("straight").await;
        let answer = send(&egress(), get(&server)).await.expect("an answer");
        assert_eq!(&answer.body[..], b"straight");
        return;
    }
    let proxy = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", proxy.local_addr().expect("an address"));
    let mut inner = Command::new(std::env::current_exe().expect("this test's program"));
    inner
        .args(["--exact", "tests::addresses::proxy_from_environment_is_ignored"])
        .env(INNER, "1")
        .env_remove("NO_PROXY")
        .env_remove("no_proxy");
    for name in [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ] {
        inner.env(name, &url);
    }
    let output = tokio::task::spawn_blocking(move || inner.output())
        .await
        .expect("no panic")
        .expect("the program runs");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && printed.contains("1 passed"), "{printed}");
    let accepted = proxy.into_std().and_then(|proxy| proxy.accept());
    assert_eq!(
        accepted.expect_err("no connection arrives").kind(),
        std::io::ErrorKind::WouldBlock
    );
}
