//! The signature on every webhook: `Tiktok-Signature: t=<seconds>,s=<hex HMAC-SHA256 of "t.body">`
//! (TikTok for Developers, Webhooks verification).

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::clock::Timestamp;

/// The header's name as TikTok writes it.
pub const HEADER: &str = "tiktok-signature";

/// The header's value for `body`, signed at `at` with the app's secret.
pub fn sign(secret: &str, at: Timestamp, body: &[u8]) -> String {
    let seconds = at.secs();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(body);
    format!("t={seconds},s={}", hex::encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_vector_holds() {
        let body = r#"{"client_key":"7000000000000000001","event":"im_receive_msg","create_time":1735689600,"user_openid":"B","content":"{\"from\":\"jane_doe\",\"to\":\"acme_store\",\"unique_identifier\":\"U\",\"from_user\":{\"id\":\"U\",\"role\":\"personal_account\"},\"to_user\":{\"id\":\"B\",\"role\":\"business_account\"},\"conversation_id\":\"C+1==\",\"message_id\":\"M1==\",\"timestamp\":1735689600123,\"type\":\"text\",\"text\":{\"body\":\"hi\"},\"scene_type\":0,\"is_follower\":false,\"message_tag\":{\"source\":\"APP\"}}"}"#;
        assert_eq!(body.len(), 509);
        assert_eq!(
            sign(
                "example-app-secret",
                Timestamp::from_ms(1_735_689_601_000),
                body.as_bytes()
            ),
            "t=1735689601,s=345a9963fca7a9d24bd52d57a09684940c1ed7e35bf1175d494064514dc0a5ce"
        );
    }
}
