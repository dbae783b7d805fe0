//! The door of the API: the key in `Authorization`, or the session in the console's cookie, and the scope that a route wants.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::Deref;
use std::sync::Mutex;
use std::time::Duration;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use weir_domain::caller::{self, Caller, Denied, Scope, Session, Shown};
use weir_domain::credential::Secret;
use weir_domain::time::Timestamp;

use super::problem::{Answer, Problem};
use super::{Api, codes, session};

/// Whence a request came; set by [`crate::serve`].
#[derive(Clone, Copy, Debug)]
pub struct ClientAddress(pub IpAddr);

/// A scope as a type, so that a handler's signature says what it wants.
pub(crate) trait Wanted: Send + Sync + 'static {
    /// The scope.
    const SCOPE: Scope;
}

macro_rules! wanted {
    ($($name:ident),*) => { $(
        /// Wants the scope of this name.
        #[derive(Debug)]
        pub(crate) struct $name;
        impl Wanted for $name { const SCOPE: Scope = Scope::$name; }
    )* };
}
wanted!(Admin, Read, MessagesWrite, ChannelsWrite, EventsWrite, ConnectorsWrite);

/// A caller whose key has the scope. Stands first among a handler's arguments, so that nothing of a stranger's body is read.
#[derive(Debug)]
pub(crate) struct May<W>(Caller, PhantomData<W>);

impl<W> Deref for May<W> {
    type Target = Caller;
    fn deref(&self) -> &Caller {
        &self.0
    }
}

impl<W: Wanted, S: Send + Sync> FromRequestParts<S> for May<W> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Answer<Self> {
        let caller = parts.extensions.get::<Caller>().cloned().ok_or(Denied::Unknown)?;
        caller.may(W::SCOPE)?;
        Ok(Self(caller, PhantomData))
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Unknown => Self::of(&codes::KEY_UNKNOWN),
            Denied::Ended => Self::of(&codes::KEY_ENDED),
            Denied::SignedOut => Self::of(&codes::SESSION_OVER),
            Denied::CrossSite => Self::of(&codes::CSRF_TOKEN_MISSING),
            Denied::Scope { scope } => Self::of(&codes::SCOPE_MISSING).with("scope", scope),
        }
        .detail(denied)
    }
}

/// The session of a caller who came with one.
#[derive(Clone, Debug)]
pub(crate) struct InSession(pub(crate) Session, pub(crate) Secret);

/// Lets a request pass whose key or session is known, with its [`Caller`] beside it.
pub(crate) async fn authenticate(State(api): State<Api>, mut request: Request, next: Next) -> Answer<Response> {
    let now = api.host.now();
    match caller_of(&api, request.headers(), !request.method().is_safe(), now).await? {
        Ok((caller, session)) => {
            request.extensions_mut().insert(caller);
            if let Some(session) = session {
                request.extensions_mut().insert(session);
            }
            Ok(next.run(request).await)
        }
        // Who shows nothing guesses nothing: a browser that asks whether it is signed in is no stranger with wrong keys.
        Err(denied) if !shows_something(&api, request.headers()) => Err(denied.into()),
        Err(denied) => {
            let address = request.extensions().get::<ClientAddress>().map(|address| address.0);
            match address.and_then(|address| api.failures.count(address, now)) {
                None => Err(denied.into()),
                Some(wait) => Err(Problem::of(&codes::TOO_MANY_ATTEMPTS).retry_after(wait)),
            }
        }
    }
}

fn shows_something(api: &Api, headers: &HeaderMap) -> bool {
    headers.contains_key(AUTHORIZATION) || session::cookie(&api.host, headers).is_some()
}

type Known = Result<(Caller, Option<InSession>), Denied>;

/// A key counts more than a cookie, which a browser sends unasked.
async fn caller_of(api: &Api, headers: &HeaderMap, changes: bool, now: Timestamp) -> Answer<Known> {
    if !headers.contains_key(AUTHORIZATION)
        && let Some(text) = session::cookie(&api.host, headers)
    {
        return in_session(api, headers, text, changes, now).await;
    }
    let Some((shown, prefix)) = bearer(headers).and_then(|key| Some((key, caller::prefix(key)?))) else {
        return Ok(Err(Denied::Unknown));
    };
    let found = api.host.store().key_by_prefix(prefix).await?;
    Ok(caller::authenticate(shown, found.as_ref(), now).map(|caller| (caller, None)))
}

async fn in_session(api: &Api, headers: &HeaderMap, text: &str, changes: bool, now: Timestamp) -> Answer<Known> {
    let shown = Shown {
        session: text,
        csrf_token: headers.get(session::CSRF_TOKEN).and_then(|token| token.to_str().ok()),
        changes,
    };
    // Browsers say whose page made a request (Fetch Metadata, Sec-Fetch-Site): another site's gets nothing, read or write.
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    if site.is_some_and(|site| site != b"same-origin" && site != b"none") {
        return Ok(Err(Denied::CrossSite));
    }
    let found = api.host.store().session(caller::digest(text)).await?;
    Ok(caller::resume(shown, found.as_ref(), now)
        .map(|caller| (caller, found.map(|session| InSession(session, Secret::new(text))))))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

/// Wrong keys per address: a few at once, then one in a while. A right key is let in even so, since behind a proxy all
/// callers share one address; 256 random bits are not guessed, and the bound keeps a mistaken client from flooding the log.
#[derive(Debug, Default)]
pub(crate) struct Failures(Mutex<HashMap<IpAddr, Bucket>>);

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: u32,
    at: Timestamp,
}

/// Wrong keys that an address may show at once: a person who mistypes, a deployment with an old key on every worker.
const BURST: u32 = 20;
/// One more after each such span.
const REFILL: Duration = Duration::from_secs(3);
/// Addresses that are remembered; past it the one that failed longest ago is forgotten.
const ADDRESSES: usize = 4_096;

impl Failures {
    /// Counts a wrong key. How long to wait, if there were too many.
    fn count(&self, address: IpAddr, now: Timestamp) -> Option<Duration> {
        let mut buckets = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let address = network(address);
        if buckets.len() >= ADDRESSES && !buckets.contains_key(&address) {
            let oldest = buckets
                .iter()
                .min_by_key(|(_, bucket)| bucket.at)
                .map(|(address, _)| *address);
            oldest.and_then(|oldest| buckets.remove(&oldest));
        }
        let bucket = buckets.entry(address).or_insert(Bucket { left: BURST, at: now });
        let spans = now.since(bucket.at).as_millis() / REFILL.as_millis();
        if spans > 0 {
            bucket.left = bucket
                .left
                .saturating_add(u32::try_from(spans).unwrap_or(BURST))
                .min(BURST);
            bucket.at = now;
        }
        if bucket.left == 0 {
            return Some(REFILL);
        }
        bucket.left -= 1;
        None
    }
}

/// One subscriber holds a whole /64 of IPv6 (RFC 4291, 2.5.4), so its addresses count as one.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn v4(last: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, last))
    }

    #[test]
    fn an_address_may_be_wrong_a_few_times_at_once_and_then_once_in_a_while() {
        let failures = Failures::default();
        let at = Timestamp::from_millis;
        for _ in 0..BURST {
            assert_eq!(failures.count(v4(1), at(0)), None);
        }
        assert_eq!(failures.count(v4(1), at(0)), Some(REFILL));
        assert_eq!(failures.count(v4(1), at(2_999)), Some(REFILL));
        assert_eq!(
            failures.count(v4(2), at(2_999)),
            None,
            "another address is not held for it"
        );
        assert_eq!(failures.count(v4(1), at(3_000)), None);
        assert_eq!(failures.count(v4(1), at(3_000)), Some(REFILL));
    }

    #[test]
    fn a_flood_of_addresses_takes_bounded_memory() {
        let failures = Failures::default();
        for n in 0..10_000_u32 {
            failures.count(IpAddr::V4(Ipv4Addr::from_bits(n)), Timestamp::from_millis(i64::from(n)));
        }
        assert_eq!(failures.0.lock().expect("not poisoned").len(), ADDRESSES);
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one() {
        let failures = Failures::default();
        for n in 0..BURST {
            let address = format!("2001:db8::{n:x}").parse().expect("an address");
            assert_eq!(failures.count(address, Timestamp::from_millis(0)), None);
        }
        let one_more = "2001:db8::ffff".parse().expect("an address");
        assert_eq!(failures.count(one_more, Timestamp::from_millis(0)), Some(REFILL));
    }
}
