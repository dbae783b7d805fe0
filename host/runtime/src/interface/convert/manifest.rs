//! The manifest. Its length is bounded by what may cross the boundary at once; its rules are checked by
//! [`weir_domain::manifest::Manifest::check`].

use weir_domain::limits;
use weir_domain::manifest as own;

use super::checks::{Converted, each, text};
use super::reply::content_kind;
use crate::error::ConversionError;
use crate::interface::bindings::exports::weir::connector::descriptor as wit;

/// The most entries of a list of a manifest, other than routes.
const ENTRIES: usize = 256;

/// The manifest, with the optional interfaces that the component exports.
pub(crate) fn manifest(raw: wit::Manifest, provides: Vec<String>) -> Converted<own::Manifest> {
    Ok(own::Manifest {
        name: raw.name,
        version: short("version", raw.version)?,
        release: raw.release,
        platform: short("platform", raw.platform)?,
        description: long("description", raw.description)?,
        maturity: short("maturity", raw.maturity)?,
        homepage: raw.homepage.map(|url| long("homepage", url)).transpose()?,
        authorization: match raw.authorization {
            wit::Authorization::Oauth(oauth) => own::Authorization::Oauth(Box::new(oauth_of(oauth)?)),
            wit::Authorization::Fields(fields) => own::Authorization::Fields {
                fields: each("authorization.fields", fields, ENTRIES, setting)?,
            },
        },
        app_settings: each("app-settings", raw.app_settings, ENTRIES, setting)?,
        webhook: raw.webhook.map(webhook).transpose()?,
        // `Manifest::check` bounds their number.
        routes: each("routes", raw.routes, usize::MAX, route)?,
        policies: each("policies", raw.policies, ENTRIES, policy)?,
        contents: each("contents", raw.contents, ENTRIES, content_rule)?,
        statuses: own::Statuses {
            sent: knowledge(raw.statuses.sent),
            delivered: knowledge(raw.statuses.delivered),
            read: knowledge(raw.statuses.read),
            failed: knowledge(raw.statuses.failed),
        },
        entry_points: each("entry-points", raw.entry_points, ENTRIES, entry_point)?,
        account_kinds: names("account-kinds", raw.account_kinds)?,
        prerequisites: each("prerequisites", raw.prerequisites, ENTRIES, |step| long("step", step))?,
        pricing: short("pricing", raw.pricing)?,
        provides,
    })
}

fn short(member: &str, value: String) -> Converted<String> {
    text(member, value, limits::NAME_BYTES)
}

/// A description for people, or a URL.
fn long(member: &str, value: String) -> Converted<String> {
    text(member, value, limits::URL_BYTES)
}

fn names(member: &str, list: Vec<String>) -> Converted<Vec<String>> {
    each(member, list, ENTRIES, |word| short("word", word))
}

fn parsed<T: std::str::FromStr>(member: &str, text: &str) -> Converted<T>
where
    T::Err: std::fmt::Display,
{
    text.parse()
        .map_err(|error: T::Err| ConversionError::new(member, error.to_string()))
}

fn setting(setting: wit::Setting) -> Converted<own::Setting> {
    Ok(own::Setting {
        name: short("name", setting.name)?,
        label: long("label", setting.label)?,
        secret: setting.secret,
        required: setting.required,
        help: long("help", setting.help)?,
    })
}

fn route(route: wit::Route) -> Converted<own::Route> {
    Ok(own::Route {
        id: short("id", route.id)?,
        method: short("method", route.method)?,
        origin: parsed("origin", &route.origin)?,
        path: parsed("path", &route.path)?,
        class: class(route.class),
        body_has: each("body-has", route.body_has, ENTRIES, |member| {
            Ok(own::BodyMember {
                pointer: short("pointer", member.pointer)?,
                value: short("value", member.value)?,
            })
        })?,
        secrets: each("secrets", route.secrets, ENTRIES, |secret| {
            Ok(own::SecretUse {
                secret: short("secret", secret.secret)?,
                place: match secret.place {
                    wit::SecretPlace::Header(name) => own::SecretPlace::Header(short("place", name)?),
                    wit::SecretPlace::Query(name) => own::SecretPlace::Query(short("place", name)?),
                    wit::SecretPlace::BodyMember(pointer) => own::SecretPlace::BodyMember(short("place", pointer)?),
                    wit::SecretPlace::PathSegment(index) => own::SecretPlace::PathSegment(index),
                },
                prefix: short("prefix", secret.prefix)?,
            })
        })?,
        why: long("why", route.why)?,
    })
}

fn class(class: wit::RouteClass) -> own::RouteClass {
    match class {
        wit::RouteClass::Read => own::RouteClass::Read,
        wit::RouteClass::MessageSend => own::RouteClass::MessageSend,
        wit::RouteClass::Signal => own::RouteClass::Signal,
        wit::RouteClass::Media => own::RouteClass::Media,
        wit::RouteClass::Setup => own::RouteClass::Setup,
    }
}

fn webhook(webhook: wit::Webhook) -> Converted<own::Webhook> {
    let proof = match webhook.proof {
        wit::WebhookProof::Hmac(hmac) => own::Proof::Hmac {
            secret: short("secret", hmac.secret)?,
            signature: located(hmac.signature)?,
            encoding: match hmac.encoding {
                wit::Encoding::Hex => own::Encoding::Hex,
                wit::Encoding::Base64 => own::Encoding::Base64,
            },
            timestamp: hmac.timestamp.map(located).transpose()?,
            signed: each("signed", hmac.signed, ENTRIES, signed_part)?,
            tolerance_s: hmac.tolerance_s,
        },
        wit::WebhookProof::SharedSecret(shared) => own::Proof::SharedSecret {
            header: short("header", shared.header)?,
            secret: short("secret", shared.secret)?,
        },
        wit::WebhookProof::Ed25519(ed25519) => own::Proof::Ed25519 {
            public_key_secret: short("public-key-secret", ed25519.public_key_secret)?,
            signature: located(ed25519.signature)?,
            timestamp: ed25519.timestamp.map(located).transpose()?,
            signed: each("signed", ed25519.signed, ENTRIES, signed_part)?,
            tolerance_s: ed25519.tolerance_s,
        },
    };
    Ok(own::Webhook {
        proof,
        challenge: webhook.challenge.map(|challenge| own::Challenge {
            answer_with: challenge.answer_with,
            verify: challenge.verify,
        }),
    })
}

fn located(located: wit::Located) -> Converted<own::Located> {
    Ok(own::Located {
        header: short("header", located.header)?,
        part: located.part.map(|part| short("part", part)).transpose()?,
        prefix: short("prefix", located.prefix)?,
    })
}

fn signed_part(part: wit::SignedPart) -> Converted<own::SignedPart> {
    Ok(match part {
        wit::SignedPart::Timestamp => own::SignedPart::Timestamp,
        wit::SignedPart::Body => own::SignedPart::Body,
        wit::SignedPart::Literal(literal) => own::SignedPart::Literal(short("literal", literal)?),
    })
}

fn oauth_of(oauth: wit::Oauth) -> Converted<own::Oauth> {
    Ok(own::Oauth {
        authorize_url: long("authorize-url", oauth.authorize_url)?,
        authorize_parameters: parameters(oauth.authorize_parameters)?,
        token: token_call(oauth.token)?,
        refresh: oauth.refresh.map(token_call).transpose()?,
        revoke: oauth.revoke.map(token_call).transpose()?,
        answer: own::TokenAnswer {
            access_token: oauth.answer.access_token,
            refresh_token: oauth.answer.refresh_token,
            expires_in: oauth.answer.expires_in,
            refresh_expires_in: oauth.answer.refresh_expires_in,
            scope: oauth.answer.scope,
            platform_id: oauth.answer.platform_id,
            success: oauth.answer.success,
            error_code: oauth.answer.error_code,
            error_message: oauth.answer.error_message,
            revoked_codes: names("revoked-codes", oauth.answer.revoked_codes)?,
        },
        scopes: each("scopes", oauth.scopes, ENTRIES, |scope| {
            Ok(own::Scope {
                name: short("name", scope.name)?,
                required: scope.required,
                why: long("why", scope.why)?,
            })
        })?,
        scope_separator: short("scope-separator", oauth.scope_separator)?,
    })
}

fn token_call(call: wit::TokenCall) -> Converted<own::TokenCall> {
    Ok(own::TokenCall {
        url: long("url", call.url)?,
        encoding: match call.encoding {
            wit::BodyEncoding::Json => own::BodyEncoding::Json,
            wit::BodyEncoding::Form => own::BodyEncoding::Form,
        },
        parameters: parameters(call.parameters)?,
    })
}

fn parameters(parameters: Vec<wit::Parameter>) -> Converted<Vec<own::Parameter>> {
    each("parameters", parameters, ENTRIES, |parameter| {
        Ok(own::Parameter {
            name: short("name", parameter.name)?,
            value: match parameter.value {
                wit::ParameterValue::Literal(literal) => own::ParameterValue::Literal(literal),
                wit::ParameterValue::Secret(name) => own::ParameterValue::Secret(name),
                wit::ParameterValue::RedirectUri => own::ParameterValue::RedirectUri,
                wit::ParameterValue::State => own::ParameterValue::State,
                wit::ParameterValue::Scopes => own::ParameterValue::Scopes,
                wit::ParameterValue::Code => own::ParameterValue::Code,
                wit::ParameterValue::AccessToken => own::ParameterValue::AccessToken,
                wit::ParameterValue::RefreshToken => own::ParameterValue::RefreshToken,
                wit::ParameterValue::PkceChallenge => own::ParameterValue::PkceChallenge,
                wit::ParameterValue::PkceVerifier => own::ParameterValue::PkceVerifier,
            },
        })
    })
}

fn policy(policy: wit::Policy) -> Converted<own::Policy> {
    Ok(match policy {
        wit::Policy::Window(rule) => own::Policy::Window {
            length_ms: rule.length_ms,
        },
        wit::Policy::Budget(rule) => own::Policy::Budget {
            limit: rule.limit,
            counts: names("counts", rule.counts)?,
        },
        wit::Policy::Rate(rule) => own::Policy::Rate {
            permits: rule.permits,
            per_ms: rule.per_ms,
            scope: match rule.scope {
                wit::RateScope::App => own::RateScope::App,
                wit::RateScope::Channel => own::RateScope::Channel,
            },
            classes: each("classes", rule.classes, ENTRIES, |of| Ok(class(of)))?,
        },
        wit::Policy::Region(rule) => own::Policy::Region {
            id: short("id", rule.id)?,
            what: match rule.what {
                wit::RegionSubject::Connect => own::RegionSubject::Connect,
                wit::RegionSubject::Images => own::RegionSubject::Images,
            },
            countries: names("countries", rule.countries)?,
            source: long("source", rule.source)?,
        },
        wit::Policy::Initiation(allowed) => own::Policy::Initiation { allowed },
        wit::Policy::Broadcast(allowed) => own::Policy::Broadcast { allowed },
    })
}

fn content_rule(rule: wit::ContentRule) -> Converted<own::ContentRule> {
    Ok(own::ContentRule {
        kind: content_kind(rule.kind),
        inbound: support(rule.inbound),
        outbound: support(rule.outbound),
        max_chars: rule.max_chars,
        max_bytes: rule.max_bytes,
        mime_types: names("mime-types", rule.mime_types)?,
        notes: names("notes", rule.notes)?,
        probed: rule.probed,
    })
}

fn support(support: wit::Support) -> own::Support {
    match support {
        wit::Support::Full => own::Support::Full,
        wit::Support::Fallback => own::Support::Fallback,
        wit::Support::Rejected => own::Support::Rejected,
        wit::Support::OptIn => own::Support::OptIn,
    }
}

fn knowledge(knowledge: wit::Knowledge) -> own::Knowledge {
    match knowledge {
        wit::Knowledge::Native => own::Knowledge::Native,
        wit::Knowledge::Inferred => own::Knowledge::Inferred,
        wit::Knowledge::None => own::Knowledge::None,
    }
}

fn entry_point(entry: wit::EntryPoint) -> Converted<own::EntryPoint> {
    Ok(own::EntryPoint {
        kind: match entry.kind {
            wit::EntryKind::Chat => own::EntryKind::Chat,
            wit::EntryKind::Profile => own::EntryKind::Profile,
        },
        url: long("url", entry.url)?,
        carries_message: entry.carries_message,
        carries_ref: entry.carries_ref,
        ref_characters: short("ref-characters", entry.ref_characters)?,
        ref_max_chars: entry.ref_max_chars,
    })
}
