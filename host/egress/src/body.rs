//! Bodies of requests. Stored media is streamed and never held in memory as a whole.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::HeaderValue;
use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, ReadBuf};
use weir_domain::id::MediaId;
use weir_domain::policy::{Part, PartContent, RequestBody};

/// Opens stored media.
#[async_trait]
pub trait Bodies: Send + Sync {
    /// The stored media `id`, from its first byte.
    ///
    /// # Errors
    /// It is not stored, or cannot be read.
    async fn open(&self, id: MediaId) -> Result<StoredBody, BodyError>;
}

/// No stored media: for requests that reference none.
pub struct NoBodies;

#[async_trait]
impl Bodies for NoBodies {
    async fn open(&self, id: MediaId) -> Result<StoredBody, BodyError> {
        Err(BodyError::NotStored(id))
    }
}

/// Stored media, opened for reading.
pub struct StoredBody {
    /// Its bytes. No more than `size` are read; with fewer the request is aborted.
    pub bytes: Box<dyn AsyncRead + Send + Unpin>,
    /// The number of bytes.
    pub size: u64,
    /// The MIME type, sniffed from the bytes.
    pub mime_type: String,
    /// The file name that is sent.
    pub filename: String,
}

/// Why stored media cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// There is none with this id.
    #[error("{0} is not stored here")]
    NotStored(MediaId),
    /// It cannot be read.
    #[error("the stored media cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// The body of a request: parts in order, of known length.
pub(crate) struct Outgoing {
    pieces: VecDeque<Piece>,
    left: u64,
}

enum Piece {
    Bytes(Bytes),
    Stored {
        bytes: Box<dyn AsyncRead + Send + Unpin>,
        left: u64,
    },
}

/// The size of the buffer for reading a file, in bytes.
const CHUNK: usize = 64 << 10;

impl Outgoing {
    /// The body, and its content type if the host determines it.
    pub(crate) async fn of(body: RequestBody, bodies: &dyn Bodies) -> Result<(Self, Option<HeaderValue>), BodyError> {
        let mut outgoing = Self {
            pieces: VecDeque::new(),
            left: 0,
        };
        let content_type = match body {
            RequestBody::Empty => None,
            RequestBody::Bytes(bytes) => {
                outgoing.push(bytes);
                None
            }
            RequestBody::Json(document) => {
                outgoing.push(document.to_string());
                Some(HeaderValue::from_static("application/json"))
            }
            RequestBody::Stored(id) => {
                let stored = bodies.open(id).await?;
                let content_type = media_type(&stored.mime_type);
                outgoing.push_stored(stored);
                Some(content_type)
            }
            RequestBody::Multipart(parts) => Some(outgoing.push_parts(parts, bodies).await?),
        };
        Ok((outgoing, content_type))
    }

    fn push(&mut self, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        self.left += bytes.len() as u64;
        self.pieces.push_back(Piece::Bytes(bytes));
    }

    fn push_stored(&mut self, stored: StoredBody) {
        self.left += stored.size;
        self.pieces.push_back(Piece::Stored {
            bytes: stored.bytes,
            left: stored.size,
        });
    }

    /// `multipart/form-data`, RFC 7578.
    async fn push_parts(&mut self, parts: Vec<Part>, bodies: &dyn Bodies) -> Result<HeaderValue, BodyError> {
        let boundary = boundary()?;
        for part in parts {
            let name = quoted(&part.name);
            match part.content {
                PartContent::Text(text) => {
                    self.push(format!(
                        "--{boundary}\r\nContent-Disposition: form-data; name={name}\r\n\r\n{text}\r\n"
                    ));
                }
                PartContent::Stored(id) => {
                    let stored = bodies.open(id).await?;
                    let filename = quoted(&stored.filename);
                    let mut head = BytesMut::from(
                        format!("--{boundary}\r\nContent-Disposition: form-data; name={name}; filename={filename}\r\nContent-Type: ")
                            .as_bytes(),
                    );
                    head.extend_from_slice(media_type(&stored.mime_type).as_bytes());
                    head.extend_from_slice(b"\r\n\r\n");
                    self.push(head.freeze());
                    self.push_stored(stored);
                    self.push("\r\n");
                }
            }
        }
        self.push(format!("--{boundary}--\r\n"));
        let content_type = format!("multipart/form-data; boundary={boundary}");
        Ok(HeaderValue::try_from(content_type).expect("a boundary of hexadecimal digits"))
    }
}

/// A boundary with 128 random bits, so that the content of a part cannot contain it.
fn boundary() -> Result<String, BodyError> {
    let mut random = [0; 16];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut random)
        .map_err(|_| io::Error::other("the system has no randomness"))?;
    Ok(format!("weir-{:032x}", u128::from_be_bytes(random)))
}

/// A name in the header of a part, escaped as browsers do (HTML standard, multipart/form-data).
fn quoted(name: &str) -> String {
    let mut quoted = String::with_capacity(name.len() + 2);
    quoted.push('"');
    for c in name.chars() {
        match c {
            '"' => quoted.push_str("%22"),
            '\r' => quoted.push_str("%0D"),
            '\n' => quoted.push_str("%0A"),
            c if c.is_control() => quoted.push('_'),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn media_type(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        loop {
            let data = match this.pieces.front_mut() {
                None => return Poll::Ready(None),
                Some(Piece::Bytes(bytes)) => {
                    let data = std::mem::take(bytes);
                    this.pieces.pop_front();
                    data
                }
                Some(Piece::Stored { left: 0, .. }) => {
                    this.pieces.pop_front();
                    continue;
                }
                Some(Piece::Stored { bytes, left }) => {
                    let room = usize::try_from(*left).unwrap_or(CHUNK).min(CHUNK);
                    let mut chunk = vec![0; room];
                    let mut buffer = ReadBuf::new(&mut chunk);
                    match Pin::new(bytes).poll_read(cx, &mut buffer) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error))),
                        Poll::Ready(Ok(())) => {}
                    }
                    let read = buffer.filled().len();
                    if read == 0 {
                        return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
                    }
                    *left -= read as u64;
                    chunk.truncate(read);
                    chunk.into()
                }
            };
            if data.is_empty() {
                continue;
            }
            this.left -= data.len() as u64;
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
