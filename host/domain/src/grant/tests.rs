//! Which changes of a new version need a new grant, and which do not.

use super::*;
use crate::manifest::tests::manifest;
use crate::manifest::{BodyMember, Encoding, Located, Proof, Route, Scope, SignedPart};

/// Each way in which a new version could widen a route under its existing name.
#[test]
fn a_yes_covers_nothing_that_was_changed_behind_its_name() {
    let grants = Grants::to(Grants::wanted_by(&manifest()));
    let changed = |change: fn(&mut Route)| {
        let mut manifest = manifest();
        change(&mut manifest.routes[0]);
        grants.missing_for(&manifest).len()
    };
    assert_eq!(changed(|_| {}), 0);
    assert_eq!(changed(|route| route.why = "for another reason".into()), 0);
    assert_eq!(changed(|route| route.method = "PUT".into()), 1);
    assert_eq!(changed(|route| route.class = crate::manifest::RouteClass::Signal), 1);
    assert_eq!(changed(|route| route.path = "/**".parse().expect("a path")), 1);
    assert_eq!(
        changed(|route| route.origin = "https://*.example.com".parse().expect("an origin")),
        1
    );
    assert_eq!(changed(|route| route.secrets[0].secret = "client_secret".into()), 1);
    assert_eq!(
        changed(|route| route.secrets[0].place = SecretPlace::Query("q".into())),
        1
    );
    assert_eq!(changed(|route| route.secrets[0].prefix = String::new()), 1);
    let member = || BodyMember {
        pointer: "/type".into(),
        value: "typing".into(),
    };
    let mut narrow = manifest();
    narrow.routes[0].body_has.push(member());
    let narrow_yes = Grants::to(Grants::wanted_by(&narrow));
    assert_eq!(narrow_yes.missing_for(&narrow).len(), 0);
    assert_eq!(
        narrow_yes.missing_for(&manifest()).len(),
        1,
        "the condition was dropped"
    );
}

#[test]
fn a_new_token_endpoint_or_a_secret_more_needs_a_new_yes() {
    let with = |change: fn(&mut Oauth)| {
        let mut oauth = crate::manifest::tests::oauth();
        change(&mut oauth);
        Manifest {
            authorization: Authorization::Oauth(Box::new(oauth)),
            ..manifest()
        }
    };
    let grants = Grants::to(Grants::wanted_by(&with(|_| {})));
    let missing = |change| {
        grants
            .missing_for(&with(change))
            .iter()
            .map(|grant| grant.route.clone())
            .collect::<Vec<_>>()
    };
    assert!(missing(|_| {}).is_empty());
    assert_eq!(
        missing(|oauth| oauth.token.url = "https://evil.example/token".into()),
        ["token"]
    );
    assert_eq!(
        missing(|oauth| oauth.token.parameters.push(Parameter {
            name: "x".into(),
            value: ParameterValue::Secret("webhook_secret".into()),
        })),
        ["token"]
    );
    assert_eq!(missing(|oauth| oauth.refresh = Some(oauth.token.clone())), ["refresh"]);
    let Authorization::Oauth(moved) = with(|oauth| oauth.authorize_url = "https://evil.example/".into()).authorization
    else {
        unreachable!("it was made with OAuth")
    };
    assert!(!grants.allow_authorization(&moved));
}

/// The requests of a new version that were not granted to `before`, each with its changes.
fn requested_anew(before: &Manifest, next: &Manifest) -> Vec<(String, Vec<String>)> {
    let grants = Grants::to(Grants::wanted_by(before));
    let requested = WantedGrant::all(grants.missing_for(next), &grants);
    let members = |requested: &WantedGrant| requested.changes.iter().map(|change| change.member.clone()).collect();
    requested
        .iter()
        .map(|requested| (requested.grant.route.clone(), members(requested)))
        .collect()
}

fn anew(route: &str, member: &str) -> Vec<(String, Vec<String>)> {
    vec![(route.to_owned(), vec![member.to_owned()])]
}

/// A manifest with a narrow route for messages, followed by a wide one for reads.
fn narrow_before_wide() -> Manifest {
    let mut manifest = manifest();
    let wide = Route {
        id: "everything".into(),
        path: "/**".parse().expect("a path"),
        class: RouteClass::Read,
        ..manifest.routes[0].clone()
    };
    manifest.routes.truncate(1);
    manifest.routes.push(wide);
    manifest
}

#[test]
fn a_route_that_takes_more_by_its_place_needs_a_new_yes() {
    let manifest = narrow_before_wide();
    let mut turned = manifest.clone();
    turned.routes.reverse();
    assert_eq!(requested_anew(&manifest, &turned), anew("everything", "except"));
    // The same applies to a route that covers more since an earlier one was removed, or matches less.
    let mut without = manifest.clone();
    without.routes.remove(0);
    assert_eq!(requested_anew(&manifest, &without), anew("everything", "except"));
    // Covering less, since another route precedes it now, needs no grant.
    assert_eq!(
        requested_anew(&turned, &manifest)
            .first()
            .map(|(route, _)| route.as_str()),
        Some("send")
    );
    assert_eq!(requested_anew(&turned, &manifest).len(), 1);
    // Routes that no request matches both may be in any order.
    let mut apart = manifest.clone();
    apart.routes[1].method = "GET".into();
    let mut apart_turned = apart.clone();
    apart_turned.routes.reverse();
    assert_eq!(requested_anew(&apart, &apart_turned), []);
}

#[test]
fn a_granted_wide_route_covers_no_sends_by_a_new_order() {
    let manifest = narrow_before_wide();
    let grants = Grants::to(Grants::wanted_by(&manifest));
    let (send, wide) = (&manifest.routes[0], &manifest.routes[1]);
    let at = origin("https://api.example.com");
    assert_eq!(grants.admit(wide, std::slice::from_ref(send), &at), Ok(()));
    assert!(matches!(
        grants.admit(wide, &[], &at),
        Err(CallRefusal::NotGranted { .. })
    ));
}

#[test]
fn another_proof_of_webhooks_needs_a_new_yes() {
    let with = |secret: &str, part: &str, signed: &[SignedPart], tolerance_s| {
        let located = |part: &str| Located {
            header: "x-signature".into(),
            part: Some(part.into()),
            prefix: String::new(),
        };
        let proof = Proof::Hmac {
            secret: secret.into(),
            signature: located(part),
            encoding: Encoding::Hex,
            timestamp: Some(located("t")),
            signed: signed.to_vec(),
            tolerance_s,
        };
        let challenge = None;
        Manifest {
            webhook: Some(Webhook { proof, challenge }),
            ..manifest()
        }
    };
    let whole = [SignedPart::Timestamp, SignedPart::Body];
    let before = with("webhook_secret", "s", &whole, 300);
    for (next, route, member) in [
        (with("client_secret", "s", &whole, 300), "proof", "secrets"),
        (with("webhook_secret", "x", &whole, 300), "proof", "fixed"),
        (with("webhook_secret", "s", &whole[..1], 300), "proof", "fixed"),
        (with("webhook_secret", "s", &whole, 301), "proof", "tolerance_s"),
    ] {
        assert_eq!(requested_anew(&before, &next), anew(route, member));
    }
    assert_eq!(requested_anew(&before, &with("webhook_secret", "s", &whole, 60)), []);
    let shared = requested_anew(&before, &manifest());
    assert_eq!(shared.first().map(|(route, _)| route.as_str()), Some("proof"));
    // Without a grant no webhook is accepted.
    let webhook = before.webhook.as_ref().expect("webhooks");
    assert!(!Grants::default().allow_webhook(webhook));
    assert!(Grants::to(Grants::wanted_by(&before)).allow_webhook(webhook));
}

#[test]
fn more_scopes_need_a_new_yes_and_fewer_do_not() {
    let scope = |name: &str| Scope {
        name: name.into(),
        required: true,
        why: String::new(),
    };
    let with = |scopes: &[&str], literal: &str| {
        let mut oauth = crate::manifest::tests::oauth();
        oauth.scopes = scopes.iter().map(|name| scope(name)).collect();
        oauth.authorize_parameters.push(Parameter {
            name: "access".into(),
            value: ParameterValue::Literal(literal.into()),
        });
        Manifest {
            authorization: Authorization::Oauth(Box::new(oauth)),
            ..manifest()
        }
    };
    let before = with(&["read", "send"], "online");
    assert_eq!(
        requested_anew(&before, &with(&["read", "send", "ads"], "online")),
        anew("authorize", "scopes")
    );
    assert_eq!(requested_anew(&before, &with(&["send"], "online")), []);
    // A fixed parameter may contain a permission.
    assert_eq!(
        requested_anew(&before, &with(&["read", "send"], "offline")),
        anew("authorize", "fixed")
    );
}

/// The manifest with these policies.
fn limited(limit: u32, hours: u64) -> Manifest {
    Manifest {
        policies: vec![
            Policy::Window {
                length_ms: hours * 3_600_000,
            },
            Policy::Budget {
                limit,
                counts: Vec::new(),
            },
        ],
        ..manifest()
    }
}

#[test]
fn wider_policies_need_a_new_yes_and_narrower_do_not() {
    let before = limited(10, 48);
    for wider in [limited(11, 48), limited(10, 49), limited(1, 72)] {
        assert_eq!(requested_anew(&before, &wider), anew("limits", "policies"));
    }
    let mut without = limited(10, 48);
    without.policies.pop();
    assert_eq!(requested_anew(&before, &without), anew("limits", "policies"));
    assert_eq!(requested_anew(&before, &limited(3, 24)), []);
    let grants = Grants::to(Grants::wanted_by(&before));
    let requested = WantedGrant::all(grants.missing_for(&limited(10, 72)), &grants);
    let change = &requested[0].changes[0];
    assert!(
        change.before.contains("48 h") && change.after.contains("72 h"),
        "{change:?}"
    );
    assert!(requested[0].words.contains("at most 10 messages"), "{requested:?}");
}

#[test]
fn a_version_without_a_yes_to_its_policies_cannot_serve() {
    let (before, wider) = (limited(10, 48), limited(20, 48));
    let grants = Grants::to(Grants::wanted_by(&before));
    let mut but_those = Grants::wanted_by(&wider);
    but_those.retain(|grant| grant.capability != "policy");
    let refused = grants.answered(&wider, but_those);
    let missing = refused.missing_for(&wider);
    assert_eq!(missing.len(), 1, "{missing:?}");
    assert_eq!(missing[0].capability, "policy");
    assert_eq!(refused.missing_for(&before).len(), 1, "nothing is granted any more");
}

#[test]
fn a_narrower_version_leaves_the_way_back_open() {
    let (before, narrower) = (limited(10, 48), limited(1, 48));
    let grants = Grants::to(Grants::wanted_by(&before));
    let grants = grants.answered(&narrower, Grants::wanted_by(&narrower));
    assert_eq!(grants.missing_for(&narrower), []);
    assert_eq!(grants.missing_for(&before), []);
    assert_eq!(grants.missing_for(&limited(11, 48)).len(), 1);
    // Repeating it keeps one grant of each.
    let again = grants.clone().answered(&narrower, Grants::wanted_by(&narrower));
    assert_eq!(again, grants);
    let back = again.answered(&before, Grants::wanted_by(&before));
    assert_eq!(back, Grants::to(Grants::wanted_by(&before)));
}

#[test]
fn grants_from_before_policies_are_a_yes_to_those_that_serve() {
    let manifest = limited(10, 48);
    let mut of_before = Grants::to(Grants::wanted_by(&manifest));
    of_before.granted.retain(|grant| grant.capability != "policy");
    let grants = of_before.with_terms(&[&manifest, &limited(20, 48)]);
    assert_eq!(grants, Some(Grants::to(Grants::wanted_by(&manifest))));
}

#[test]
fn grants_of_before_are_a_yes_to_what_served() {
    let manifest = narrow_before_wide();
    let mut turned = manifest.clone();
    turned.routes.reverse();
    let mut of_before = Grants::to(Grants::wanted_by(&manifest));
    of_before
        .granted
        .retain(|grant| !matches!(grant.capability.as_str(), "webhook" | "policy"));
    of_before.granted.iter_mut().for_each(|grant| grant.terms = None);
    // In the format of that time.
    let kept = serde_json::to_string(&of_before).expect("JSON");
    assert!(!kept.contains("terms"), "{kept}");
    let read: Grants = serde_json::from_str(&kept).expect("the same form");
    let grants = read.with_terms(&[&manifest, &turned]).expect("no terms yet");
    assert_eq!(grants.missing_for(&manifest), []);
    assert_eq!(grants.missing_for(&turned).len(), 1);
    assert_eq!(grants.with_terms(&[&turned]), None, "once");
}

#[test]
fn without_a_yes_everything_is_missing() {
    assert_eq!(
        Grants::default().missing_for(&manifest()),
        Grants::wanted_by(&manifest())
    );
}

fn origin(text: &str) -> Origin {
    text.parse().expect("an origin")
}

/// A manifest whose first route covers all subdomains of a name.
fn wide() -> Manifest {
    let mut manifest = manifest();
    manifest.routes[0].origin = "https://*.example.com".parse().expect("an origin");
    manifest
}

#[test]
fn fewer_hosts_may_be_given_and_the_refusal_says_which() {
    let manifest = wide();
    let mut granted = Grants::wanted_by(&manifest);
    granted[0].origin = "https://cdn.example.com".into();
    let grants = Grants::default().answered(&manifest, granted);
    assert_eq!(grants.missing_for(&manifest), [], "it was decided");
    let route = &manifest.routes[0];
    assert_eq!(grants.admit(route, &[], &origin("https://cdn.example.com")), Ok(()));
    let refused = grants
        .admit(route, &[], &origin("https://api.example.com"))
        .expect_err("narrowed");
    assert_eq!(refused.rule(), "narrowed");
    let words = refused.to_string();
    assert!(
        words.contains("https://cdn.example.com") && words.contains("https://api.example.com"),
        "{words}"
    );
}

#[test]
fn what_was_withheld_is_decided_and_refused_as_such() {
    let manifest = manifest();
    let mut granted = Grants::wanted_by(&manifest);
    let kept = granted.remove(0);
    let grants = Grants::default().answered(&manifest, granted.clone());
    assert_eq!(grants.withheld, [kept]);
    assert_eq!(grants.missing_for(&manifest), []);
    let route = &manifest.routes[0];
    let at = origin(&route.origin.to_string());
    assert_eq!(grants.admit(route, &[], &at).expect_err("withheld").rule(), "withheld");
    assert_eq!(
        Grants::to(granted).admit(route, &[], &at).expect_err("unasked").rule(),
        "not_granted"
    );
    // A request that is granted later is no longer withheld.
    let grants = grants.answered(&manifest, Grants::wanted_by(&manifest));
    assert_eq!(grants.withheld, []);
    assert_eq!(grants.admit(route, &[], &at), Ok(()));
}

#[test]
fn rejection_does_not_cover_new_grants() {
    let grants = Grants::default().answered(&manifest(), Vec::new());
    let missing = grants.missing_for(&wide());
    assert_eq!(missing.len(), 2, "that, and the policies");
    assert_eq!(missing[0].origin, "https://*.example.com");
}

#[test]
fn wider_grant_than_requested_is_ineffective() {
    let manifest = manifest();
    let mut granted = Grants::wanted_by(&manifest);
    assert_eq!(unrequested(&granted, &[&manifest]), [0; 0]);
    granted[0].origin = "https://*.example.com".into();
    assert_eq!(unrequested(&granted, &[&manifest]), [0]);
    assert_eq!(unrequested(&granted, &[&manifest, &wide()]), [0; 0]);
}
