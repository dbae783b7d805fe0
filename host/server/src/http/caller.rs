//! The caller, and a route's requirements: the scope and its reach.

use std::marker::PhantomData;
use std::net::IpAddr;
use std::ops::Deref;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use weir_domain::caller::{Caller, Denied, Scope};

use super::problem::{ApiResult, Problem};
use crate::core::codes;

/// The source address of a request; set by [`crate::serve`].
#[derive(Clone, Copy, Debug)]
pub struct ClientAddress(pub IpAddr);

/// A scope as a type, so that a handler's signature states its requirement.
pub(crate) trait Wanted: Send + Sync + 'static {
    /// The scope.
    const SCOPE: Scope;
}

macro_rules! wanted {
    ($($name:ident),*) => { $(
        /// Requires the scope of this name.
        #[derive(Debug)]
        pub(crate) struct $name;
        impl Wanted for $name { const SCOPE: Scope = Scope::$name; }
    )* };
}
wanted!(Admin, Read, MessagesWrite, ChannelsWrite, EventsWrite, ConnectorsWrite);

/// The reach of a route, as a type.
pub(crate) trait Extent: Send + Sync + 'static {
    /// Whether the scope applies to this object.
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
    /// Objects of channels: the handler returns nothing about a channel that the caller does not [see](Caller::sees).
    InChannels: Caller::may;
    /// Objects of the whole workspace.
    InWorkspace: Caller::may_in_workspace;
    /// Objects of the host.
    OnHost: Caller::may_on_host;
}

/// A caller whose key has the scope, with the route's reach. It must be a handler's first argument, so that the body of
/// an unauthorized request is not read.
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

    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
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
