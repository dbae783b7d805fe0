//! Constructors of failures, by the decision that they express.

use crate::http;
use crate::types::{Failure, Verdict};

/// Whether a call may be repeated if its outcome is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// It only reads, or is idempotent: after an unknown outcome it is retried.
    Safe,
    /// It sends something to a person: an unknown outcome stays unknown.
    Never,
}

impl Failure {
    /// The platform refused and will refuse again.
    #[must_use]
    pub fn permanent(code: &str, detail: impl Into<String>) -> Self {
        Self::new(Verdict::Permanent, code, detail)
    }

    /// The platform did nothing; retry by the host's schedule, or not before `after_ms` milliseconds.
    #[must_use]
    pub fn retry(code: &str, detail: impl Into<String>, after_ms: Option<u64>) -> Self {
        Self::new(Verdict::Retry(after_ms), code, detail)
    }

    /// The credential was rejected.
    #[must_use]
    pub fn reauthorize(detail: impl Into<String>) -> Self {
        Self::new(Verdict::Reauthorize, "reauthorization_required", detail)
    }

    /// The platform may or may not have acted.
    #[must_use]
    pub fn uncertain(detail: impl Into<String>) -> Self {
        Self::new(Verdict::Uncertain, "outcome_unknown", detail)
    }

    /// The failure for a request without a response, by whether it may be repeated.
    #[must_use]
    pub fn without_answer(error: &http::Error, repeat: Repeat) -> Self {
        match (error, repeat) {
            (http::Error::Refused(rule), _) => Self::permanent(
                "connector_failed",
                format!("the host refused the connector's request: {rule}"),
            ),
            (http::Error::Unreachable(reason), _) => Self::retry(
                "platform_unavailable",
                format!("the platform could not be reached: {reason}"),
                None,
            ),
            (http::Error::NoAnswer(reason), Repeat::Never) => Self::uncertain(format!(
                "the request was sent and no complete response arrived: {reason}"
            )),
            (http::Error::NoAnswer(reason), Repeat::Safe) => Self::retry(
                "platform_unavailable",
                format!("no complete response arrived: {reason}"),
                None,
            ),
            (http::Error::TooLarge(bytes), Repeat::Never) => {
                Self::uncertain(format!("the response of {bytes} bytes exceeds the host's limit"))
            }
            (http::Error::TooLarge(bytes), Repeat::Safe) => Self::permanent(
                "connector_failed",
                format!("the response of {bytes} bytes exceeds the host's limit"),
            ),
        }
    }

    /// Adds the platform's own code, message and request id, verbatim; an empty text is the same as none.
    #[must_use]
    pub fn reported_by_platform(
        mut self,
        code: Option<String>,
        message: Option<String>,
        request_id: Option<String>,
    ) -> Self {
        let present = |text: Option<String>| text.filter(|text| !text.is_empty());
        self.platform_code = present(code);
        self.platform_message = present(message);
        self.platform_request_id = present(request_id);
        self
    }

    /// The former name of [`reported_by_platform`](Self::reported_by_platform).
    #[deprecated(note = "use `reported_by_platform`")]
    #[must_use]
    pub fn said_by_platform(self, code: Option<String>, message: Option<String>, request_id: Option<String>) -> Self {
        self.reported_by_platform(code, message, request_id)
    }

    fn new(verdict: Verdict, code: &str, detail: impl Into<String>) -> Self {
        Self {
            verdict,
            code: code.to_owned(),
            detail: detail.into(),
            platform_code: None,
            platform_message: None,
            platform_request_id: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_answer_is_uncertain_only_where_repeating_would_double() {
        let lost = http::Error::NoAnswer("reset".into());
        assert_eq!(
            Failure::without_answer(&lost, Repeat::Never).verdict,
            Verdict::Uncertain
        );
        assert_eq!(
            Failure::without_answer(&lost, Repeat::Safe).verdict,
            Verdict::Retry(None)
        );

        let large = http::Error::TooLarge(9_000_000);
        assert_eq!(
            Failure::without_answer(&large, Repeat::Never).verdict,
            Verdict::Uncertain
        );
        assert_eq!(
            Failure::without_answer(&large, Repeat::Safe).verdict,
            Verdict::Permanent
        );
    }

    #[test]
    fn what_never_left_is_never_uncertain() {
        for repeat in [Repeat::Safe, Repeat::Never] {
            let refused = Failure::without_answer(&http::Error::Refused("no route fits".into()), repeat);
            assert_eq!(
                (refused.verdict, refused.code.as_str()),
                (Verdict::Permanent, "connector_failed")
            );
            let unreachable = Failure::without_answer(&http::Error::Unreachable("no address".into()), repeat);
            assert_eq!(unreachable.verdict, Verdict::Retry(None));
        }
    }
}
