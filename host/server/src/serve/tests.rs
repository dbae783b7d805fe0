//! Admission of connections, and their number.

use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use super::*;

/// A connection from this address of the machine.
async fn dial(from: &str, to: std::net::SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .bind(format!("{from}:0").parse().expect("an address"))
        .expect("a local address");
    socket.connect(to).await.expect("it listens")
}

/// The response to a request; empty if the connection was closed unread.
async fn request_page(stream: &mut TcpStream) -> String {
    let request = b"GET / HTTP/1.1\r\nhost: weir\r\nconnection: close\r\n\r\n";
    let mut response = String::new();
    // Closed before or during the write: either way there is no response.
    if stream.write_all(request).await.is_ok() {
        let _ = stream.read_to_string(&mut response).await;
    }
    response
}

#[tokio::test]
async fn connections_are_bounded_per_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let closing = CancellationToken::new();
    let bounds = Limits {
        connections: 8,
        connections_per_address: 2,
        ..Limits::default()
    };
    let router = Router::new().route("/", get(|| async { "served" }));
    let serving = tokio::spawn(serve(listener, router, bounds, closing.clone(), Duration::from_secs(5)));
    let (mut first, mut second) = (dial("127.0.0.1", address).await, dial("127.0.0.1", address).await);
    for _ in 0..20 {
        assert_eq!(request_page(&mut dial("127.0.0.1", address).await).await, "");
    }
    assert!(
        request_page(&mut dial("127.0.0.2", address).await)
            .await
            .ends_with("served")
    );
    // They were there first, and free their slots.
    for held in [&mut first, &mut second] {
        assert!(request_page(held).await.ends_with("served"));
    }
    let again = async {
        while !request_page(&mut dial("127.0.0.1", address).await)
            .await
            .ends_with("served")
        {}
    };
    let patience = Duration::from_secs(180);
    tokio::time::timeout(patience, again).await.expect("a released slot");
    closing.cancel();
    serving.await.expect("it ends");
}

#[test]
fn a_network_counts_as_one_and_who_left_is_forgotten() {
    let limiter = ConnectionLimiter::default();
    let enter = |address: &str| limiter.acquire(address.parse().expect("an address"), 1);
    let one = enter("2001:db8::1");
    assert!(one.is_some());
    assert!(enter("2001:db8::ffff:2").is_none(), "the same network");
    assert!(enter("2001:db8:0:1::1").is_some());
    drop(one);
    assert!(limiter.0.lock().expect("not poisoned").is_empty());
}
