//! Failures that a connector returns.

use weir_domain::delivery::Verdict;
use weir_domain::limits;
use weir_domain::message::{MessageError, PlatformError};
use weir_domain::problem::Fault;

use super::checks::is_token;
use crate::error::CallError;
use crate::interface::bindings::weir::connector::types as wit;
use crate::text;

/// A failure. Never rejected: its verdict matters more than its texts, which are sanitized and truncated.
pub(super) fn failure(failure: wit::Failure) -> (Verdict, MessageError) {
    let line = |text: &str| text::line(text, limits::LOG_LINE_BYTES);
    let code = if is_token(&failure.code) {
        failure.code
    } else {
        "platform_error".to_owned()
    };
    let verdict = match failure.verdict {
        wit::Verdict::Permanent => Verdict::Permanent,
        wit::Verdict::Retry(after_ms) => Verdict::Retry {
            after_ms,
            counts: code != "rate_limited",
        },
        wit::Verdict::Reauthorize => Verdict::Reauthorize,
        wit::Verdict::Uncertain => Verdict::Uncertain,
    };
    let platform = PlatformError {
        code: failure.platform_code.map(|text| line(&text)),
        message: failure.platform_message.map(|text| line(&text)),
        request_id: failure.platform_request_id.map(|text| line(&text)),
    };
    let error = MessageError {
        fault: if code == "connector_failed" {
            Fault::Host
        } else {
            Fault::Platform
        },
        code,
        detail: line(&failure.detail),
        retryable: matches!(verdict, Verdict::Retry { .. } | Verdict::Reauthorize),
        platform: (platform != PlatformError::default()).then_some(platform),
    };
    (verdict, error)
}

impl From<wit::Failure> for CallError {
    fn from(raw: wit::Failure) -> Self {
        let (verdict, error) = failure(raw);
        Self::Failed {
            verdict,
            error: Box::new(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(verdict: wit::Verdict, code: &str) -> wit::Failure {
        wit::Failure {
            verdict,
            code: code.into(),
            detail: "one\ntwo\u{1b}[31m".into(),
            platform_code: Some("x".repeat(10_000)),
            platform_message: None,
            platform_request_id: None,
        }
    }

    #[test]
    fn failure_text_never_causes_refusal() {
        let (verdict, error) = failure(raw(wit::Verdict::Uncertain, "NOT A CODE"));
        assert_eq!(verdict, Verdict::Uncertain);
        assert_eq!(
            (error.code.as_str(), error.detail.as_str()),
            ("platform_error", "one two")
        );
        let code = error.platform.and_then(|platform| platform.code).unwrap_or_default();
        assert!(code.len() <= limits::LOG_LINE_BYTES);
    }

    #[test]
    fn throttling_does_not_count_as_failure() {
        let counts = |code| failure(raw(wit::Verdict::Retry(Some(7)), code)).0;
        assert_eq!(
            counts("rate_limited"),
            Verdict::Retry {
                after_ms: Some(7),
                counts: false
            }
        );
        assert_eq!(
            counts("platform_unavailable"),
            Verdict::Retry {
                after_ms: Some(7),
                counts: true
            }
        );
    }
}
