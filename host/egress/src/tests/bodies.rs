//! Bodies: streamed, of known length, and honest about what they are.

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, repeat};
use weir_domain::credential::Secrets;
use weir_domain::id::{MediaId, Mint};
use weir_domain::policy::{Part, PartContent, RequestBody};
use weir_domain::time::Timestamp;

use super::support::{Server, egress, permit, request};
use crate::{Bodies, BodyError, EgressError, NoBodies, StoredBody};

fn media() -> MediaId {
    Mint::from_seed([3; 32]).id(Timestamp::from_millis(0))
}

/// A picture of this size; what can be read of it may be less.
struct Picture {
    size: u64,
    readable: u64,
    filename: &'static str,
    mime_type: &'static str,
}

impl Picture {
    fn of(size: u64) -> Self {
        Self {
            size,
            readable: size,
            filename: "cat.jpg",
            mime_type: "image/jpeg",
        }
    }
}

#[async_trait]
impl Bodies for Picture {
    async fn open(&self, id: MediaId) -> Result<StoredBody, BodyError> {
        assert_eq!(id, media());
        Ok(StoredBody {
            bytes: Box::new(repeat(b'p').take(self.readable)),
            size: self.size,
            mime_type: self.mime_type.into(),
            filename: self.filename.into(),
        })
    }
}

fn parts() -> RequestBody {
    let part = |name: &str, content| Part {
        name: name.into(),
        content,
    };
    RequestBody::Multipart(vec![
        part("business_id", PartContent::Text("--weir\r\n42".into())),
        part("file", PartContent::Stored(media())),
    ])
}

#[tokio::test]
async fn stored_bytes_are_the_whole_body_with_their_own_type() {
    let server = Server::saying("{}").await;
    let mut request = request("/upload", RequestBody::Stored(media()));
    request.headers.push((
        "content-type".parse().expect("a name"),
        "text/html".parse().expect("a value"),
    ));
    let size = 3 << 20;
    egress()
        .send(
            permit(&server, request, Vec::new()),
            &Secrets::default(),
            &Picture::of(size),
        )
        .await
        .expect("an answer");
    let seen = server.only();
    assert_eq!(seen.header("content-type"), Some("image/jpeg"));
    assert_eq!(seen.header("content-length"), Some(&*size.to_string()));
    assert!(seen.body.len() as u64 == size && seen.body.iter().all(|byte| *byte == b'p'));
}

#[tokio::test]
async fn a_form_holds_fields_and_files() {
    let server = Server::saying("{}").await;
    let permit = permit(&server, request("/upload", parts()), Vec::new());
    egress()
        .send(permit, &Secrets::default(), &Picture::of(5))
        .await
        .expect("an answer");
    let seen = server.only();
    let boundary = seen
        .header("content-type")
        .and_then(|value| value.strip_prefix("multipart/form-data; boundary="))
        .expect("a boundary");
    let expected = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"business_id\"\r\n\r\n--weir\r\n42\r\n\
         --{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"cat.jpg\"\r\n\
         Content-Type: image/jpeg\r\n\r\nppppp\r\n--{boundary}--\r\n"
    );
    assert_eq!(String::from_utf8_lossy(&seen.body), expected);
}

#[tokio::test]
async fn a_boundary_cannot_be_guessed_from_the_last_one() {
    let server = Server::saying("{}").await;
    for _ in 0..2 {
        let permit = permit(&server, request("/upload", parts()), Vec::new());
        let sent = egress().send(permit, &Secrets::default(), &Picture::of(5)).await;
        sent.expect("an answer");
    }
    let seen = server.seen();
    assert_ne!(seen[0].header("content-type"), seen[1].header("content-type"));
}

#[tokio::test]
async fn a_file_name_cannot_write_a_header() {
    let server = Server::saying("{}").await;
    let permit = permit(&server, request("/upload", parts()), Vec::new());
    let picture = Picture {
        filename: "a\"\r\nX-Evil: 1\0.jpg",
        mime_type: "image/jpeg\r\nX-Evil: 2",
        ..Picture::of(1)
    };
    egress()
        .send(permit, &Secrets::default(), &picture)
        .await
        .expect("an answer");
    let body = String::from_utf8(server.only().body).expect("text");
    assert!(body.contains("filename=\"a%22%0D%0AX-Evil: 1_.jpg\"\r\nContent-Type: application/octet-stream\r\n"));
}

#[tokio::test]
async fn bytes_that_are_not_here_stop_the_request() {
    let server = Server::saying("{}").await;
    for body in [RequestBody::Stored(media()), parts()] {
        let permit = permit(&server, request("/upload", body), Vec::new());
        let error = egress()
            .send(permit, &Secrets::default(), &NoBodies)
            .await
            .expect_err("not stored");
        assert!(matches!(error, EgressError::Body(BodyError::NotStored(_))));
        assert!(!error.may_have_been_seen());
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_file_shorter_than_it_says_breaks_the_request_off() {
    let server = Server::saying("{}").await;
    let picture = Picture {
        readable: 99_999,
        ..Picture::of(100_000)
    };
    let permit = permit(&server, request("/upload", RequestBody::Stored(media())), Vec::new());
    let error = egress()
        .send(permit, &Secrets::default(), &picture)
        .await
        .expect_err("too short");
    assert!(matches!(error, EgressError::NoAnswer { .. }), "{error}");
    assert_eq!(server.seen().len(), 0, "a whole request never came");
}

#[tokio::test]
async fn a_file_longer_than_it_says_is_cut_there() {
    let server = Server::saying("{}").await;
    let picture = Picture {
        readable: 20,
        ..Picture::of(10)
    };
    let permit = permit(&server, request("/upload", RequestBody::Stored(media())), Vec::new());
    egress()
        .send(permit, &Secrets::default(), &picture)
        .await
        .expect("an answer");
    assert_eq!(server.only().body.len(), 10);
}
