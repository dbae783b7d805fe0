//! The allowed destinations of a request: URLs and addresses in every spelling, and the sandbox.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::limits;
use crate::manifest::Origin;
use crate::policy::address;

mod spellings;

/// The addresses of the table's names.
fn resolve(host: &str) -> Vec<IpAddr> {
    let addresses: &[&str] = match host {
        "localhost" => &["127.0.0.1", "::1"],
        "metadata.google.internal" => &["169.254.169.254"],
        "127.0.0.1.nip.example" => &["127.0.0.1"],
        "inside.tiktokcdn.com" => &["10.0.0.7", "64:ff9b::a9fe:a9fe"],
        "half-inside.tiktokcdn.com" => &["10.0.0.7", "93.184.216.34"],
        _ => &["93.184.216.34"],
    };
    addresses.iter().map(|text| text.parse().expect("an address")).collect()
}

/// The result for a permit once its host has resolved; and whether all dialed addresses are public.
fn dialed(permit: &EgressPermit) -> &'static str {
    let found = match permit.request().url.host().expect("a host") {
        url::Host::Domain(name) => resolve(name),
        url::Host::Ipv4(literal) => vec![literal.into()],
        url::Host::Ipv6(literal) => vec![literal.into()],
    };
    let may_be = |address: &IpAddr| address::admit(*address, permit.reach()).is_ok();
    if found.iter().any(may_be) { "goes" } else { "address" }
}

fn answer(judged: Result<EgressPermit, CallRefusal>) -> &'static str {
    match judged {
        Ok(permit) => dialed(&permit),
        Err(CallRefusal::BadUrl { reason }) => reason,
        Err(CallRefusal::NoRoute { .. }) => "route",
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn every_spelling_of_a_url_is_answered_by_its_rule() {
    assert!(spellings::URLS.len() >= 60);
    let wrong: Vec<String> = spellings::URLS
        .iter()
        .filter_map(|(spelling, connector, fetch)| {
            let (by_connector, by_fetch) = match spelling.parse::<Url>() {
                Err(_) => ("unparsed", "unparsed"),
                Ok(url) => {
                    let request = Request {
                        url: url.clone(),
                        ..get(API)
                    };
                    (answer(judged(CallKind::Locate, request)), answer(may_fetch(url)))
                }
            };
            let as_expected = by_connector.starts_with(connector) && by_fetch.starts_with(fetch);
            (!as_expected).then(|| format!("{spelling}: {by_connector}, {by_fetch}; expected: {connector}, {fetch}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_url_is_taken_up_to_its_longest_and_no_longer() {
    let base = format!("{API}/open_api/");
    let of_length = |length: usize| get(&format!("{base}{}", "a".repeat(length - base.len())));
    assert!(judged(CallKind::History, of_length(limits::URL_BYTES)).is_ok());
    assert_eq!(
        judged(CallKind::History, of_length(limits::URL_BYTES + 1)).err(),
        Some(CallRefusal::BadUrl {
            reason: "it is too long"
        })
    );
}

#[test]
fn the_host_calls_token_endpoints_by_name_and_over_tls() {
    let authorize = |url: &str| may_authorize(&OriginMap::default(), get(url)).map(|permit| permit.reach());
    assert_eq!(
        authorize("https://business-api.tiktok.com/open_api/v1.3/tt_user/oauth2/token/"),
        Ok(Reach::Public)
    );
    assert!(authorize("http://business-api.tiktok.com/token").is_err());
    assert!(authorize("https://93.184.216.34/token").is_err());
    assert!(authorize("https://u@business-api.tiktok.com/token").is_err());
}

#[test]
fn internal_endpoint_needs_configuration() {
    let deliver = |url: &str, reach| may_deliver(get(url), reach).map(|permit| dialed(&permit));
    assert_eq!(deliver("https://hooks.example:8443/weir", Reach::Public), Ok("goes"));
    assert_eq!(deliver("https://10.0.0.1/weir", Reach::Public), Ok("address"));
    assert_eq!(deliver("https://localhost/weir", Reach::Public), Ok("address"));
    assert!(deliver("http://hooks.example/weir", Reach::Public).is_err());
    assert_eq!(deliver("http://10.0.0.1:9000/weir", Reach::OperatorSet), Ok("goes"));
    assert_eq!(deliver("http://localhost:9000/weir", Reach::Loopback), Ok("goes"));
    assert!(deliver("ftp://10.0.0.1/weir", Reach::OperatorSet).is_err());
    assert!(deliver("http://u@10.0.0.1/weir", Reach::OperatorSet).is_err());
}

#[test]
fn component_source_is_configured_or_public() {
    let obtain = |named: &str, url: &str| {
        let named = named.parse().expect("a URL");
        answer(may_obtain(&named, get(url)))
    };
    let registry = "https://registry.internal:5000/";
    assert_eq!(obtain(registry, "https://registry.internal:5000/v2/"), "goes");
    assert_eq!(obtain("http://10.0.0.7/", "http://10.0.0.7:8080/token"), "goes");
    assert_eq!(obtain("http://10.0.0.7/", "https://10.0.0.7/token"), "goes");
    assert_eq!(obtain(registry, "https://files.example/blob"), "goes");
    // A host that a registry names is not one that the operator named.
    assert_eq!(obtain(registry, "https://inside.tiktokcdn.com/blob"), "address");
    assert_eq!(obtain(registry, "https://169.254.169.254/latest/meta-data"), "address");
    assert_eq!(obtain(registry, "https://localhost/"), "address");
    assert_eq!(obtain(registry, "http://files.example/blob"), "its scheme is not https");
    // It cannot lead from https to plain http either.
    assert_eq!(
        obtain(registry, "http://registry.internal:5000/v2/"),
        "its scheme is not https"
    );
    assert_eq!(obtain(registry, "https://u@registry.internal/"), "it names a user");
}

fn origin(text: &str) -> Origin {
    text.parse().expect("an origin")
}

fn mapped(pairs: &[(&str, &str)]) -> OriginMap {
    OriginMap(pairs.iter().map(|(from, to)| (origin(from), origin(to))).collect())
}

fn judged_with(origins: &OriginMap, request: Request) -> Result<EgressPermit, CallRefusal> {
    let routes = routes();
    may_call(
        &mut Call::new(CallKind::Locate),
        &routes,
        &grants(&routes),
        origins,
        request,
    )
}

#[test]
fn mapped_origin_is_judged_as_platform() {
    let origins = mapped(&[(API, "http://127.0.0.1:9100")]);
    for url in [
        "https://business-api.tiktok.com/open_api/a?b=c",
        "http://127.0.0.1:9100/open_api/a?b=c",
    ] {
        let permit = judged_with(&origins, get(url)).expect("a route covers it");
        assert_eq!(permit.request().url.as_str(), "http://127.0.0.1:9100/open_api/a?b=c");
        assert_eq!(permit.reach(), Reach::Loopback);
        assert_eq!(route_of(&permit), "read");
    }
}

#[test]
fn mapping_opens_only_its_origin() {
    let origins = mapped(&[(API, "http://127.0.0.1:9100")]);
    for url in [
        "http://127.0.0.1:9101/open_api/a",
        "https://127.0.0.1:9100/open_api/a",
        "http://localhost:9100/open_api/a",
        "http://business-api.tiktok.com/open_api/a",
    ] {
        assert!(
            matches!(judged_with(&origins, get(url)), Err(CallRefusal::BadUrl { .. })),
            "{url}"
        );
    }
    for url in [
        "http://u@127.0.0.1:9100/open_api/a",
        "http://127.0.0.1:9100/open_api/a#b",
        "http://127.0.0.1:9100/x",
    ] {
        assert!(judged_with(&origins, get(url)).is_err(), "{url}");
    }
    // An origin that is not mapped stays public.
    let permit = judged_with(&origins, get("https://a.tiktokcdn.com/a.jpg")).expect("a route covers it");
    assert_eq!(permit.reach(), Reach::Public);
}

#[test]
fn several_origins_may_be_mapped_to_one_sandbox() {
    let origins = mapped(&[
        (API, "http://127.0.0.1:9100"),
        ("https://p16-sign.tiktokcdn.com", "http://127.0.0.1:9100"),
    ]);
    for (url, route) in [
        ("http://127.0.0.1:9100/open_api/a", "read"),
        ("http://127.0.0.1:9100/cdn/a.jpg", "pictures"),
    ] {
        let permit = judged_with(&origins, get(url)).expect("a route covers it");
        assert_eq!(route_of(&permit), route);
        assert_eq!(permit.request().url.as_str(), url);
    }
}

#[test]
fn remote_mapping_needs_public_tls() {
    let to = |sandbox: &str| {
        judged_with(
            &mapped(&[(API, sandbox)]),
            get("https://business-api.tiktok.com/open_api/a"),
        )
    };
    let permit = to("https://sandbox.example").expect("a route covers it");
    assert_eq!((permit.reach(), dialed(&permit)), (Reach::Public, "goes"));
    let permit = to("https://10.0.0.1").expect("a route covers it");
    assert_eq!(dialed(&permit), "address");
    assert!(matches!(to("http://sandbox.example"), Err(CallRefusal::BadUrl { .. })));
    assert!(may_authorize(&mapped(&[(API, "http://sandbox.example")]), get(API)).is_err());
}

proptest! {
    /// Whatever a connector sends, an admitted request goes to a granted origin over TLS, and a fetch goes to public
    /// addresses.
    #[test]
    fn what_is_let_through_goes_where_a_route_says(
        scheme in "(https?|HTTPS|ftp|)",
        slashes in proptest::sample::select(vec!["://", ":", ":\\\\", ":/", ":///"]),
        user in proptest::sample::select(vec!["", "u@", "u:p@", "business-api.tiktok.com@", "business-api.tiktok.com\\@"]),
        host in prop_oneof![
            Just("business-api.tiktok.com".to_owned()),
            "[a-z.]{0,8}\\.?tiktokcdn\\.com\\.?",
            any::<u32>().prop_map(|bits| bits.to_string()),
            any::<u32>().prop_map(|bits| format!("0x{bits:x}")),
            any::<[u8; 4]>().prop_map(|[a, b, c, d]| format!("{a}.0{b:o}.{c}.0x{d:x}")),
            any::<u128>().prop_map(|bits| format!("[{}]", std::net::Ipv6Addr::from_bits(bits))),
            any::<u32>().prop_map(|bits| format!("[::ffff:{}]", std::net::Ipv4Addr::from_bits(bits))),
            "\\PC{1,16}",
        ],
        port in proptest::sample::select(vec!["", ":443", ":80", ":8443"]),
        rest in "(/|/open_api/)?[ -~]{0,16}",
    ) {
        if let Ok(url) = format!("{scheme}{slashes}{user}{host}{port}{rest}").parse::<Url>() {
            let request = Request { url: url.clone(), ..get(API) };
            if let Ok(permit) = judged(CallKind::Locate, request) {
                let url = &permit.request().url;
                let host = url.domain().expect("no address");
                prop_assert!(host == "business-api.tiktok.com" || host.ends_with(".tiktokcdn.com"));
                prop_assert_eq!(url.scheme(), "https");
                prop_assert_eq!(url.port_or_known_default(), Some(443));
                prop_assert!(url.username().is_empty() && url.password().is_none() && url.fragment().is_none());
            }
            if let Ok(permit) = may_fetch(url) {
                let literal: Option<IpAddr> = match permit.request().url.host() {
                    Some(url::Host::Ipv4(address)) => Some(address.into()),
                    Some(url::Host::Ipv6(address)) => Some(address.into()),
                    _ => None,
                };
                if let Some(address) = literal && address::admit(address, permit.reach()).is_ok() {
                    let special = match address.to_canonical() {
                        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_unspecified(),
                        IpAddr::V6(v6) => v6.is_loopback() || v6.segments()[0] & 0xe000 != 0x2000,
                    };
                    prop_assert!(!special, "{address}");
                }
            }
        }
    }
}
