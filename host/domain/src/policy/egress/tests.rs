//! Each rule of outgoing requests, both ways, and properties that apply to every URL and header.

use super::*;
use crate::grant::Grants;
use crate::manifest::{BodyMember, SecretPlace};

mod calls;
mod headers;
mod routes;
mod urls;

const API: &str = "https://business-api.tiktok.com";
const SEND: &str = "https://business-api.tiktok.com/open_api/v1.3/business/message/send/";

fn route(id: &str, method: &str, origin: &str, path: &str, class: RouteClass) -> Route {
    Route {
        id: id.into(),
        method: method.into(),
        origin: origin.parse().expect("a pattern"),
        path: path.parse().expect("a path"),
        class,
        body_has: Vec::new(),
        secrets: vec![SecretUse {
            secret: "access_token".into(),
            place: SecretPlace::Header("access-token".into()),
            prefix: String::new(),
        }],
        why: String::new(),
    }
}

fn with_member(pointer: &str, value: &str, route: Route) -> Route {
    Route {
        body_has: vec![BodyMember {
            pointer: pointer.into(),
            value: value.into(),
        }],
        ..route
    }
}

/// Two uses of TikTok's send call, and one of each other class.
fn routes() -> Vec<Route> {
    let send = "/open_api/v1.3/business/message/send/";
    vec![
        with_member(
            "/message_type",
            "SENDER_ACTION",
            route("typing", "POST", API, send, RouteClass::Signal),
        ),
        with_member(
            "/message_type",
            "TEXT",
            route("send", "POST", API, send, RouteClass::MessageSend),
        ),
        route("read", "GET", API, "/open_api/**", RouteClass::Read),
        route(
            "upload",
            "POST",
            API,
            "/open_api/v1.3/business/message/media/upload/",
            RouteClass::Media,
        ),
        route("pictures", "GET", "https://*.tiktokcdn.com", "/**", RouteClass::Media),
        route(
            "setup",
            "POST",
            API,
            "/open_api/v1.3/business/webhook/update/",
            RouteClass::Setup,
        ),
        route("ports", "GET", "https://ports.example:8443", "/**", RouteClass::Read),
    ]
}

fn grants(routes: &[Route]) -> Grants {
    Grants::to(crate::grant::Grant::of_all(routes))
}

fn get(url: &str) -> Request {
    Request {
        method: Method::GET,
        url: url.parse().expect("a URL"),
        headers: Vec::new(),
        body: RequestBody::Empty,
    }
}

fn post(url: &str, body: impl Into<Bytes>) -> Request {
    Request {
        method: Method::POST,
        body: RequestBody::Bytes(body.into()),
        ..get(url)
    }
}

fn text() -> Request {
    post(SEND, r#"{"message_type":"TEXT","text":"hi"}"#)
}

fn judge(call: &mut Call, request: Request) -> Result<EgressPermit, CallRefusal> {
    let routes = routes();
    may_call(call, &routes, &grants(&routes), &OriginMap::default(), request)
}

fn judged(kind: CallKind, request: Request) -> Result<EgressPermit, CallRefusal> {
    judge(&mut Call::new(kind), request)
}

fn route_of(permit: &EgressPermit) -> &str {
    match permit.purpose() {
        Purpose::Connector { route, .. } => route,
        other => panic!("{other:?} is not a connector's"),
    }
}

fn header(name: &str, value: &str) -> (HeaderName, HeaderValue) {
    (name.parse().expect("a name"), value.parse().expect("a value"))
}
