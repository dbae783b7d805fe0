//! One request, one response, over the host's `http` import.
//!
//! ```no_run
//! # fn f() -> Result<(), weir_sdk::http::Error> {
//! let answer = weir_sdk::http::get("https://api.example/messages").query("thread", "a+b==").fetch()?;
//! # Ok(()) }
//! ```
//! The URL's origin and path must fit a route of the manifest. Credentials are set by the host; a connector never has
//! one.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

pub use crate::bindings::weir::connector::http::{Body, Error, Part, PartContent, Request, Response};
use crate::json::Fields;
use crate::types::Header;

/// All characters except the unreserved ones of RFC 3986, so that `+`, `/`, `=` and `&` in a value are preserved.
const OUTSIDE_UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A request under construction.
#[derive(Clone, Debug)]
pub struct Draft {
    request: Request,
}

/// Starts a GET.
#[must_use]
pub fn get(url: &str) -> Draft {
    Draft::new("GET", url)
}

/// Starts a POST.
#[must_use]
pub fn post(url: &str) -> Draft {
    Draft::new("POST", url)
}

/// A text field of a multipart body.
#[must_use]
pub fn text_part(name: &str, text: &str) -> Part {
    Part {
        name: name.to_owned(),
        content: PartContent::Text(text.to_owned()),
    }
}

/// A stored attachment as a field of a multipart body; the host sends its bytes, its file name and its content type.
#[must_use]
pub fn stored_part(name: &str, media_id: &str) -> Part {
    Part {
        name: name.to_owned(),
        content: PartContent::Stored(media_id.to_owned()),
    }
}

impl Draft {
    /// Starts a request of any method.
    #[must_use]
    pub fn new(method: &str, url: &str) -> Self {
        Self {
            request: Request {
                method: method.to_owned(),
                url: url.to_owned(),
                headers: Vec::new(),
                body: Body::None,
            },
        }
    }

    /// Adds one query parameter, percent-encoded so that the platform reads back exactly `value`.
    #[must_use]
    pub fn query(mut self, name: &str, value: &str) -> Self {
        let url = &mut self.request.url;
        url.push(if url.contains('?') { '&' } else { '?' });
        url.extend(utf8_percent_encode(name, OUTSIDE_UNRESERVED));
        url.push('=');
        url.extend(utf8_percent_encode(value, OUTSIDE_UNRESERVED));
        self
    }

    /// Adds one header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request.headers.push(Header {
            name: name.to_owned(),
            value: value.to_owned(),
        });
        self
    }

    /// Sets `body` as the request's body, as JSON.
    #[must_use]
    pub fn json(mut self, body: &Value) -> Self {
        self.request.body = Body::Bytes(body.to_string().into_bytes());
        self.header("content-type", "application/json")
    }

    /// Sets `parts` as the request's body, as `multipart/form-data`, which the host encodes.
    #[must_use]
    pub fn multipart(mut self, parts: Vec<Part>) -> Self {
        self.request.body = Body::Multipart(parts);
        self
    }

    /// Sends the request and waits for its response.
    ///
    /// # Errors
    /// Why there is no response, including whether the platform can have acted.
    pub fn fetch(self) -> Result<Response, Error> {
        fetch(&self.request)
    }
}

/// Sends one request and waits for its response.
///
/// # Errors
/// Why there is no response, including whether the platform can have acted.
pub fn fetch(request: &Request) -> Result<Response, Error> {
    #[cfg(target_arch = "wasm32")]
    return crate::bindings::weir::connector::http::fetch(request);
    #[cfg(not(target_arch = "wasm32"))]
    return crate::testkit::fetch(request);
}

impl Response {
    /// The value of the first header of this name, case-insensitive.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value.as_str())
    }

    /// The body as a JSON object; `None` if it is anything else (a gateway's HTML, a truncated response).
    #[must_use]
    pub fn json(&self) -> Option<Fields> {
        Fields::parse(&self.body).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_value_is_read_back_as_it_was() {
        let draft = get("https://api.example/list/")
            .query("id", "a+b/c==")
            .query("fields", r#"["a b"]"#);
        assert_eq!(
            draft.request.url,
            "https://api.example/list/?id=a%2Bb%2Fc%3D%3D&fields=%5B%22a%20b%22%5D"
        );
    }

    #[test]
    fn without_a_host_a_request_is_refused_as_in_a_pure_call() {
        assert!(matches!(get("https://api.example/").fetch(), Err(Error::Refused(_))));
    }
}
