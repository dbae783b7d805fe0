//! Verification of webhooks: no part of a webhook is trusted, and no connector runs on it, before its signature is
//! verified on the raw bytes.

use std::collections::BTreeMap;

use base64::Engine;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::credential::Secret;
use crate::manifest::{Encoding, Located, Proof, SignedPart, Webhook};
use crate::time::Timestamp;

/// A webhook as received.
#[derive(Clone, Debug, Default)]
pub struct RawWebhook {
    /// The method.
    pub method: String,
    /// The query, without `?`.
    pub query: String,
    /// Header names in lower case, in order.
    pub headers: Vec<(String, String)>,
    /// The body, byte for byte.
    pub body: Bytes,
}

/// A webhook whose signature was verified. Owns the verified data. Constructed only by [`verify`].
#[derive(Clone, Debug)]
pub struct VerifiedWebhook {
    raw: RawWebhook,
    signed_at: Option<Timestamp>,
}

impl VerifiedWebhook {
    /// The verified webhook.
    pub fn webhook(&self) -> &RawWebhook {
        &self.raw
    }

    /// When the platform signed it, by its own clock; `None` if its scheme has no time.
    pub fn signed_at(&self) -> Option<Timestamp> {
        self.signed_at
    }

    /// A webhook that was verified before it became a dead letter. The caller guarantees that it was read from that
    /// row.
    pub fn from_dead_letter(webhook: RawWebhook) -> Self {
        Self {
            raw: webhook,
            signed_at: None,
        }
    }
}

/// Why a webhook is rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forged {
    /// The connector declares no webhooks.
    #[error("this app's connector accepts no webhooks")]
    NoScheme,
    /// The operator refused the signature scheme of the connector's webhooks, or was never asked.
    #[error(
        "the operator has not granted the signature scheme of {connector}'s webhooks; PUT /v1/connectors/{connector}/grants"
    )]
    NotGranted {
        /// The connector.
        connector: String,
    },
    /// The app does not have the secret yet.
    #[error("the app has no secret {name:?}; set it with PUT /v1/apps")]
    NoSecret {
        /// The secret's name.
        name: String,
    },
    /// A header is missing, or duplicated.
    #[error("the header {header} must occur exactly once, with {part}")]
    Header {
        /// The header.
        header: String,
        /// What it must contain.
        part: String,
    },
    /// The timestamp is too far from now.
    #[error("the webhook was signed {seconds} s from now, and {tolerance} s are allowed; check both clocks")]
    Stale {
        /// The difference.
        seconds: i64,
        /// The allowed difference.
        tolerance: u32,
    },
    /// The signature does not match.
    #[error("the signature does not match the body")]
    Mismatch,
}

/// The result of checking a webhook's head.
enum Head<'a> {
    /// Undecided: the body must match this signature under one of the keys.
    Signed {
        keys: &'a [Secret],
        signature: Vec<u8>,
        stamp: &'a str,
        signed_at: Option<Timestamp>,
        signed: &'a [SignedPart],
    },
    /// Verified completely.
    Proved,
}

/// Bytes of an HMAC-SHA256.
const HMAC_BYTES: usize = 32;

/// Checks a webhook before its body is read: whether it can be genuine, by its headers and the time. The body of `head`
/// is not used.
///
/// # Errors
/// What is missing, stale or cannot be a signature. [`verify`] rejects all that this rejects.
pub fn admit_head(
    scheme: Option<&Webhook>,
    secrets: &BTreeMap<String, Vec<Secret>>,
    head: &RawWebhook,
    now: Timestamp,
) -> Result<(), Forged> {
    judge_head(scheme, secrets, head, now).map(drop)
}

/// Verifies a webhook's signature by the connector's scheme. `secrets` are the app's; during a rotation a name has
/// several, and any of them is accepted. `now` is the time of the platform's clock, as far as it is known.
///
/// # Errors
/// What is missing, stale or wrong. It may be logged; the sender gets only a 401.
pub fn verify(
    scheme: Option<&Webhook>,
    secrets: &BTreeMap<String, Vec<Secret>>,
    raw: RawWebhook,
    now: Timestamp,
) -> Result<VerifiedWebhook, Forged> {
    let mut signed_at = None;
    if let Head::Signed {
        keys,
        signature,
        stamp,
        signed_at: at,
        signed,
    } = judge_head(scheme, secrets, &raw, now)?
    {
        let message = message(signed, stamp, &raw.body);
        let fits = |key: &Secret| {
            Hmac::<Sha256>::new_from_slice(key.expose().as_bytes())
                .is_ok_and(|mac| mac.chain_update(&message).verify_slice(&signature).is_ok())
        };
        keys.iter().any(fits).then_some(()).ok_or(Forged::Mismatch)?;
        signed_at = at;
    }
    Ok(VerifiedWebhook { raw, signed_at })
}

fn judge_head<'a>(
    scheme: Option<&'a Webhook>,
    secrets: &'a BTreeMap<String, Vec<Secret>>,
    raw: &'a RawWebhook,
    now: Timestamp,
) -> Result<Head<'a>, Forged> {
    match &scheme.ok_or(Forged::NoScheme)?.proof {
        Proof::Hmac {
            secret,
            signature,
            encoding,
            timestamp,
            signed,
            tolerance_s,
        } => {
            let keys = keys(secrets, secret)?;
            let written = located(raw, signature)?;
            let (stamp, signed_at) = stamp(raw, timestamp.as_ref(), *tolerance_s, now)?;
            let signature = decode(written, *encoding).filter(|bytes| bytes.len() == HMAC_BYTES);
            Ok(Head::Signed {
                keys,
                signature: signature.ok_or(Forged::Mismatch)?,
                stamp,
                signed_at,
                signed,
            })
        }
        Proof::SharedSecret { header, secret } => {
            let keys = keys(secrets, secret)?;
            let written = single(raw, header)?;
            let fits = |key: &Secret| bool::from(key.expose().as_bytes().ct_eq(written.as_bytes()));
            keys.iter().any(fits).then_some(Head::Proved).ok_or(Forged::Mismatch)
        }
        // No connector needs it yet, and an unverified signature must not be accepted.
        Proof::Ed25519 { .. } => Err(Forged::Mismatch),
    }
}

fn keys<'s>(secrets: &'s BTreeMap<String, Vec<Secret>>, name: &str) -> Result<&'s [Secret], Forged> {
    secrets
        .get(name)
        .filter(|keys| !keys.is_empty())
        .map(Vec::as_slice)
        .ok_or_else(|| Forged::NoSecret { name: name.to_owned() })
}

/// The single value of a header. A duplicate header is rejected: two readers could use different values.
fn single<'r>(raw: &'r RawWebhook, header: &str) -> Result<&'r str, Forged> {
    let mut values = raw
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case(header))
        .map(|(_, value)| value.as_str());
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value),
        _ => Err(Forged::Header {
            header: header.to_owned(),
            part: "a value".to_owned(),
        }),
    }
}

fn located<'r>(raw: &'r RawWebhook, place: &Located) -> Result<&'r str, Forged> {
    let missing = || Forged::Header {
        header: place.header.clone(),
        part: place.part.clone().unwrap_or_else(|| "a value".to_owned()),
    };
    let value = single(raw, &place.header)?;
    let value = match &place.part {
        None => value,
        Some(part) => {
            let mut found = value
                .split(',')
                .filter_map(|pair| pair.trim().split_once('='))
                .filter(|(name, _)| name == part)
                .map(|(_, value)| value);
            match (found.next(), found.next()) {
                (Some(value), None) => value,
                _ => return Err(missing()),
            }
        }
    };
    value.strip_prefix(place.prefix.as_str()).ok_or_else(missing)
}

/// The signed time, as text and as a moment.
fn stamp<'r>(
    raw: &'r RawWebhook,
    place: Option<&Located>,
    tolerance: u32,
    now: Timestamp,
) -> Result<(&'r str, Option<Timestamp>), Forged> {
    let Some(place) = place else { return Ok(("", None)) };
    let text = located(raw, place)?;
    let at: i64 = text.parse().map_err(|_| Forged::Header {
        header: place.header.clone(),
        part: "a time in Unix seconds".to_owned(),
    })?;
    let seconds = now.as_secs().saturating_sub(at);
    if seconds.unsigned_abs() > u64::from(tolerance) {
        return Err(Forged::Stale { seconds, tolerance });
    }
    Ok((text, Some(Timestamp::from_millis(at.saturating_mul(1_000)))))
}

fn decode(text: &str, encoding: Encoding) -> Option<Vec<u8>> {
    match encoding {
        // Platforms send lower case; upper case is another sender's.
        Encoding::Hex if text.bytes().any(|byte| byte.is_ascii_uppercase()) => None,
        Encoding::Hex => hex::decode(text).ok(),
        Encoding::Base64 => base64::engine::general_purpose::STANDARD.decode(text).ok(),
    }
}

fn message(signed: &[SignedPart], stamp: &str, body: &[u8]) -> Vec<u8> {
    signed
        .iter()
        .fold(Vec::with_capacity(body.len() + 32), |mut message, part| {
            message.extend_from_slice(match part {
                SignedPart::Timestamp => stamp.as_bytes(),
                SignedPart::Body => body,
                SignedPart::Literal(text) => text.as_bytes(),
            });
            message
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"client_key":"7000000000000000001","event":"im_receive_msg","create_time":1735689600,"user_openid":"B","content":"{\"from\":\"jane_doe\",\"to\":\"acme_store\",\"unique_identifier\":\"U\",\"from_user\":{\"id\":\"U\",\"role\":\"personal_account\"},\"to_user\":{\"id\":\"B\",\"role\":\"business_account\"},\"conversation_id\":\"C+1==\",\"message_id\":\"M1==\",\"timestamp\":1735689600123,\"type\":\"text\",\"text\":{\"body\":\"hi\"},\"scene_type\":0,\"is_follower\":false,\"message_tag\":{\"source\":\"APP\"}}"}"#;
    const SIGNATURE: &str = "345a9963fca7a9d24bd52d57a09684940c1ed7e35bf1175d494064514dc0a5ce";
    const SIGNED_AT: i64 = 1_735_689_601;

    /// TikTok's scheme (TikTok API reference, Webhooks, Signature), with the vector given there.
    fn tiktok() -> Webhook {
        let part = |name: &str| Located {
            header: "tiktok-signature".into(),
            part: Some(name.into()),
            prefix: String::new(),
        };
        Webhook {
            proof: Proof::Hmac {
                secret: "client_secret".into(),
                signature: part("s"),
                encoding: Encoding::Hex,
                timestamp: Some(part("t")),
                signed: vec![SignedPart::Timestamp, SignedPart::Literal(".".into()), SignedPart::Body],
                tolerance_s: 300,
            },
            challenge: None,
        }
    }

    fn secrets(values: &[&str]) -> BTreeMap<String, Vec<Secret>> {
        [(
            "client_secret".to_owned(),
            values.iter().map(|value| Secret::new(*value)).collect(),
        )]
        .into()
    }

    fn raw(header: &str) -> RawWebhook {
        RawWebhook {
            method: "POST".into(),
            query: String::new(),
            headers: vec![("tiktok-signature".into(), header.into())],
            body: BODY.into(),
        }
    }

    fn good() -> RawWebhook {
        raw(&format!("t={SIGNED_AT},s={SIGNATURE}"))
    }

    fn at(offset: i64) -> Timestamp {
        Timestamp::from_millis((SIGNED_AT + offset) * 1000)
    }

    #[test]
    fn the_published_vector_is_verified() {
        let verified =
            verify(Some(&tiktok()), &secrets(&["example-app-secret"]), good(), at(0)).expect("a good signature");
        assert_eq!(verified.webhook().body, BODY);
        assert_eq!(verified.signed_at(), Some(at(0)));
    }

    #[test]
    fn parts_of_the_header_are_found_by_name_and_not_by_place() {
        let turned = raw(&format!("s={SIGNATURE}, t={SIGNED_AT}"));
        assert!(verify(Some(&tiktok()), &secrets(&["example-app-secret"]), turned, at(0)).is_ok());
    }

    #[test]
    fn during_a_rotation_either_secret_will_do() {
        assert!(verify(Some(&tiktok()), &secrets(&["new", "example-app-secret"]), good(), at(0)).is_ok());
    }

    #[test]
    fn the_timestamp_is_believed_to_the_very_edge_of_the_tolerance() {
        let check = |offset| verify(Some(&tiktok()), &secrets(&["example-app-secret"]), good(), at(offset)).map(|_| ());
        assert_eq!(check(300), Ok(()));
        assert_eq!(
            check(301),
            Err(Forged::Stale {
                seconds: 301,
                tolerance: 300
            })
        );
        assert_eq!(check(-300), Ok(()));
        assert_eq!(
            check(-301),
            Err(Forged::Stale {
                seconds: -301,
                tolerance: 300
            })
        );
    }

    #[test]
    fn whatever_is_altered_missing_or_doubled_is_refused() {
        let ok = secrets(&["example-app-secret"]);
        let mut altered = good();
        altered.body = BODY.replace("hi", "ho").into();
        let mut doubled = good();
        doubled.headers.push(doubled.headers[0].clone());
        let cases = [
            ("altered body", altered),
            ("header twice", doubled),
            (
                "no header",
                RawWebhook {
                    headers: Vec::new(),
                    ..good()
                },
            ),
            ("no signature", raw(&format!("t={SIGNED_AT}"))),
            ("no time", raw(&format!("s={SIGNATURE}"))),
            ("two times", raw(&format!("t=1,t={SIGNED_AT},s={SIGNATURE}"))),
            (
                "upper-case hex",
                raw(&format!("t={SIGNED_AT},s={}", SIGNATURE.to_uppercase())),
            ),
            ("short signature", raw(&format!("t={SIGNED_AT},s={}", &SIGNATURE[..62]))),
            ("no hex", raw(&format!("t={SIGNED_AT},s=zz"))),
            ("time of letters", raw(&format!("t=soon,s={SIGNATURE}"))),
        ];
        for (what, webhook) in cases {
            // The head check accepts only what the body decides.
            let head = admit_head(Some(&tiktok()), &ok, &webhook, at(0));
            assert_eq!(head.is_ok(), what == "altered body", "{what}");
            assert!(verify(Some(&tiktok()), &ok, webhook, at(0)).is_err(), "{what}");
        }
        assert_eq!(
            verify(Some(&tiktok()), &secrets(&["wrong"]), good(), at(0)).err(),
            Some(Forged::Mismatch)
        );
        assert_eq!(
            verify(Some(&tiktok()), &BTreeMap::new(), good(), at(0)).err(),
            Some(Forged::NoSecret {
                name: "client_secret".into()
            })
        );
        assert_eq!(verify(None, &ok, good(), at(0)).err(), Some(Forged::NoScheme));
    }

    #[test]
    fn a_head_is_judged_without_its_body() {
        let ok = secrets(&["example-app-secret"]);
        let admit = |webhook: &RawWebhook, offset| admit_head(Some(&tiktok()), &ok, webhook, at(offset));
        let mut head = good();
        head.body = Bytes::new();
        assert_eq!(admit(&head, 300), Ok(()));
        assert!(matches!(admit(&head, 301), Err(Forged::Stale { .. })));
        // Only the body shows that the time is not the signed one.
        let other_time = raw(&format!("t={},s={SIGNATURE}", SIGNED_AT + 1));
        assert_eq!(admit(&other_time, 0), Ok(()));
        assert!(verify(Some(&tiktok()), &ok, other_time, at(0)).is_err());
    }

    #[test]
    fn every_flipped_bit_of_the_signature_is_noticed() {
        let bytes = hex::decode(SIGNATURE).expect("hex");
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let webhook = raw(&format!("t={SIGNED_AT},s={}", hex::encode(flipped)));
            assert!(
                verify(Some(&tiktok()), &secrets(&["example-app-secret"]), webhook, at(0)).is_err(),
                "bit {bit}"
            );
        }
    }
}
