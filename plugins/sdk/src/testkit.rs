//! A host for native unit tests: it answers the connector's requests from a script, keeps its state in memory, and
//! shows the time that the test sets.
//!
//! ```
//! use weir_sdk::{http, testkit::Host};
//!
//! let host = Host::at(1_735_689_600_000);
//! host.answer("GET", "https://api.example/me", 200, r#"{"name":"acme"}"#);
//!
//! let me = http::get("https://api.example/me").query("fields", "name").fetch().expect("the script answers");
//! assert_eq!(me.status, 200);
//! assert_eq!(host.requests().len(), 1);
//! ```
//!
//! A [`Host`] serves the thread that made it until it is dropped. Without one, every import refuses, as the real host
//! does inside `describe`, `receive` and `prepare`: a test of those needs no host, and detects an impure call.
//! Responses are given in the order of the script; a request that the script does not expect fails the test, and so
//! does an unused response.

mod routes;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use crate::bindings::weir::connector::state::Error as StateError;
use crate::descriptor::{Manifest, Route, RouteClass};
use crate::http::{Body, Error, Request, Response};
use crate::log::Level;
use crate::types::{Header, Timestamp};

thread_local! {
    static CURRENT: RefCell<Option<Rc<RefCell<Inner>>>> = const { RefCell::new(None) };
}

/// The host of this thread, until it is dropped.
pub struct Host {
    inner: Rc<RefCell<Inner>>,
}

#[derive(Default)]
struct Inner {
    now: Timestamp,
    script: VecDeque<Step>,
    routes: Option<Vec<Route>>,
    permit: Option<u32>,
    requests: Vec<Request>,
    state: BTreeMap<String, Vec<u8>>,
    lines: Vec<(Level, String)>,
}

struct Step {
    method: String,
    url: String,
    answer: Result<Response, Error>,
}

impl Host {
    /// A host whose clock shows `now`, in milliseconds since the Unix epoch.
    ///
    /// # Panics
    /// If this thread has a host already.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        let inner = Rc::new(RefCell::new(Inner {
            now,
            ..Inner::default()
        }));
        CURRENT.with_borrow_mut(|current| {
            assert!(current.is_none(), "this thread has a test host already");
            *current = Some(Rc::clone(&inner));
        });
        Self { inner }
    }

    /// From here on, refuses every request that matches no route of `manifest`, as the real host does.
    pub fn enforce(&self, manifest: &Manifest) {
        self.inner.borrow_mut().routes = Some(manifest.routes.clone());
    }

    /// Grants one permit: with [`enforce`](Self::enforce), the one request of class `message-send` that may be sent
    /// before the next permit. Without this call, none may.
    pub fn permit_one(&self) {
        self.inner.borrow_mut().permit = Some(1);
    }

    /// Answers the next request, which must have this method and, up to its query, this URL.
    pub fn answer(&self, method: &str, url: &str, status: u16, body: impl Into<Vec<u8>>) {
        let response = Response {
            status,
            headers: vec![Header {
                name: "content-type".into(),
                value: "application/json".into(),
            }],
            body: body.into(),
        };
        self.step(method, url, Ok(response));
    }

    /// Fails the next request, which must have this method and, up to its query, this URL.
    pub fn fail(&self, method: &str, url: &str, error: Error) {
        self.step(method, url, Err(error));
    }

    fn step(&self, method: &str, url: &str, answer: Result<Response, Error>) {
        self.inner.borrow_mut().script.push_back(Step {
            method: method.into(),
            url: url.into(),
            answer,
        });
    }

    /// Sets the clock.
    pub fn set_now(&self, now: Timestamp) {
        self.inner.borrow_mut().now = now;
    }

    /// Every request, including refused ones, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.inner.borrow().requests.clone()
    }

    /// The body of the request at `index`, as JSON.
    ///
    /// # Panics
    /// If there is no such request, or its body is not JSON.
    #[must_use]
    pub fn json_body(&self, index: usize) -> serde_json::Value {
        let inner = self.inner.borrow();
        let request = inner.requests.get(index).expect("the connector made fewer requests");
        match &request.body {
            Body::Bytes(bytes) => serde_json::from_slice(bytes).expect("the body is JSON"),
            other => panic!("the body is not bytes but {other:?}"),
        }
    }

    /// Every logged line.
    #[must_use]
    pub fn lines(&self) -> Vec<(Level, String)> {
        self.inner.borrow().lines.clone()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        CURRENT.with_borrow_mut(Option::take);
        let unrequested = self.inner.borrow().script.len();
        if unrequested > 0 && !std::thread::panicking() {
            panic!("{unrequested} responses of the script were not used");
        }
    }
}

/// The implementation of the imports in a native build.
fn with<T>(serve: impl FnOnce(&mut Inner) -> T) -> Option<T> {
    CURRENT.with_borrow(|current| current.as_ref().map(|inner| serve(&mut inner.borrow_mut())))
}

pub(crate) fn now() -> Timestamp {
    with(|host| host.now).unwrap_or_default()
}

pub(crate) fn log(level: Level, message: &str) {
    with(|host| host.lines.push((level, message.to_owned())));
}

pub(crate) fn fetch(request: &Request) -> Result<Response, Error> {
    with(|host| host.fetch(request)).unwrap_or_else(|| Err(Error::Refused("this call has no network".into())))
}

impl Inner {
    fn fetch(&mut self, request: &Request) -> Result<Response, Error> {
        self.requests.push(request.clone());
        if let Some(routes) = &self.routes {
            let Some(route) = routes::fitting(routes, request) else {
                return Err(Error::Refused(format!(
                    "no route matches {} {}",
                    request.method, request.url
                )));
            };
            if route.class == RouteClass::MessageSend {
                match &mut self.permit {
                    Some(left) if *left > 0 => *left -= 1,
                    _ => {
                        return Err(Error::Refused(format!("no permit is left for route {}", route.id)));
                    }
                }
            }
        }
        let step = self.script.pop_front();
        let step = step.unwrap_or_else(|| panic!("the script has no response to {} {}", request.method, request.url));
        let url = request.url.split('?').next().unwrap_or_default();
        assert_eq!(
            (request.method.as_str(), url),
            (step.method.as_str(), step.url.as_str()),
            "the request is not the one that the script expects"
        );
        step.answer
    }
}

/// The implementation of [`crate::state`] in a native build.
pub(crate) mod state {
    use super::{StateError, with};

    fn refused<T>() -> Result<T, StateError> {
        Err(StateError::Refused("this call has no state".into()))
    }

    pub(crate) fn get(key: &str) -> Result<Option<Vec<u8>>, StateError> {
        with(|host| Ok(host.state.get(key).cloned())).unwrap_or_else(refused)
    }

    pub(crate) fn set(key: &str, value: &[u8]) -> Result<(), StateError> {
        with(|host| {
            host.state.insert(key.to_owned(), value.to_vec());
            Ok(())
        })
        .unwrap_or_else(refused)
    }

    pub(crate) fn delete(key: &str) -> Result<(), StateError> {
        with(|host| {
            host.state.remove(key);
            Ok(())
        })
        .unwrap_or_else(refused)
    }

    pub(crate) fn keys(prefix: &str) -> Result<Vec<String>, StateError> {
        with(|host| {
            Ok(host
                .state
                .keys()
                .filter(|key| key.starts_with(prefix))
                .cloned()
                .collect())
        })
        .unwrap_or_else(refused)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{clock, http, state};

    #[test]
    fn a_script_answers_in_order_and_keeps_what_was_asked() {
        let host = Host::at(7);
        host.answer("GET", "https://a.example/x", 200, "{}");
        host.fail("POST", "https://a.example/y", Error::NoAnswer("reset".into()));

        assert_eq!(
            http::get("https://a.example/x").query("q", "1").fetch().unwrap().status,
            200
        );
        assert!(http::post("https://a.example/y").fetch().is_err());
        assert_eq!(host.requests()[0].url, "https://a.example/x?q=1");
        assert_eq!(clock::now(), 7);
    }

    #[test]
    #[should_panic(expected = "the script has no response")]
    fn a_request_outside_the_script_fails_the_test() {
        let _host = Host::at(0);
        let _ = http::get("https://a.example/x").fetch();
    }

    #[test]
    #[should_panic(expected = "were not used")]
    fn unused_response_fails_the_test() {
        Host::at(0).answer("GET", "https://a.example/x", 200, "");
    }

    #[test]
    fn state_is_kept_while_the_host_lives() {
        {
            let _host = Host::at(0);
            state::set("cursor/1", b"a").unwrap();
            state::set("other", b"b").unwrap();
            assert_eq!(state::keys("cursor/").unwrap(), ["cursor/1"]);
            assert_eq!(state::get("cursor/1").unwrap().as_deref(), Some(&b"a"[..]));
        }
        assert!(state::get("cursor/1").is_err());
    }
}
