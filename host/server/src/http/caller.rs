//! The door of the API: the key in `Authorization`, or the session in the console's cookie, and the scope that a route wants.

use std::marker::PhantomData;
use std::net::IpAddr;
use std::ops::Deref;

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
use super::standing::Standing;
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

/// How far a route reaches, as a type.
pub(crate) trait Extent: Send + Sync + 'static {
    /// Whether the caller may do there what the scope covers.
    fn judge(caller: &Caller, scope: Scope) -> Result<(), Denied>;
}

macro_rules! extent {
    ($($(#[$doc:meta])* $name:ident: $judge:path;)*) => { $(
        $(#[$doc])*
        #[derive(Debug)]
        pub(crate) struct $name;
        impl Extent for $name {
            fn judge(caller: &Caller, scope: Scope) -> Result<(), Denied> {
                $judge(caller, scope)
            }
        }
    )* };
}
extent! {
    /// What belongs to channels: the handler gives nothing of one that the caller does not [see](Caller::sees).
    InChannels: Caller::may;
    /// What belongs to the whole workspace.
    InWorkspace: Caller::may_in_workspace;
    /// What belongs to the host.
    OnHost: Caller::may_on_host;
}

/// A caller whose key has the scope, as far as the route reaches. Stands first among a handler's arguments, so that nothing of a
/// stranger's body is read.
#[derive(Debug)]
pub(crate) struct May<W, E = InWorkspace>(Caller, PhantomData<(W, E)>);

impl<W, E> Deref for May<W, E> {
    type Target = Caller;
    fn deref(&self) -> &Caller {
        &self.0
    }
}

impl<W: Wanted, E: Extent, S: Send + Sync> FromRequestParts<S> for May<W, E> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Answer<Self> {
        let caller = parts.extensions.get::<Caller>().cloned().ok_or(Denied::Unknown)?;
        E::judge(&caller, W::SCOPE)?;
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
            Denied::Bound => Self::of(&codes::KEY_BOUND),
            Denied::NotOperator => Self::of(&codes::OPERATOR_ONLY),
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
            let standing = Standing::of(&api, &caller, &request);
            request.extensions_mut().insert(caller);
            if let Some(session) = session {
                request.extensions_mut().insert(session);
            }
            match standing {
                Some(standing) => standing.bound(next.run(request)).await,
                None => Ok(next.run(request).await),
            }
        }
        // Who shows nothing guesses nothing: a browser that asks whether it is signed in is no stranger with wrong keys.
        Err(denied) if !shows_something(&api, request.headers()) => Err(denied.into()),
        Err(denied) => {
            // A right key is let in even so, since behind a proxy all callers share one address; 256 random bits are not
            // guessed, and the bound keeps a mistaken client from flooding the log.
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

pub(super) type Known = Result<(Caller, Option<InSession>), Denied>;

/// A key counts more than a cookie, which a browser sends unasked.
pub(super) async fn caller_of(api: &Api, headers: &HeaderMap, changes: bool, now: Timestamp) -> Answer<Known> {
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
