//! The meaning of TikTok's codes for the host (Appendix: Return codes; texts as users of the API report them).

use weir_sdk::Repeat;
use weir_sdk::types::Failure;

/// The verdict for a code, and its text for people.
struct Meaning {
    act: Act,
    code: &'static str,
    detail: &'static str,
}

#[derive(Clone, Copy)]
enum Act {
    Permanent,
    Retry,
    Reauthorize,
    /// A timeout inside TikTok: where a repetition could duplicate, the outcome is unknown.
    Unknown,
}

const fn meaning(act: Act, code: &'static str, detail: &'static str) -> Meaning {
    Meaning { act, code, detail }
}

/// The failure for a response whose `code` is not 0.
#[must_use]
pub fn refused(code: u64, message: String, request_id: Option<String>, repeat: Repeat) -> Failure {
    let Meaning {
        act,
        code: word,
        detail,
    } = by_code(code, &message);
    let failure = match act {
        Act::Permanent => Failure::permanent(word, detail),
        Act::Retry => Failure::retry(word, detail, None),
        Act::Reauthorize => Failure::reauthorize(detail),
        Act::Unknown if repeat == Repeat::Never => Failure::uncertain(detail),
        Act::Unknown => Failure::retry("platform_unavailable", detail, None),
    };
    failure.reported_by_platform(Some(code.to_string()), Some(message), request_id)
}

/// The failure for a response without an envelope, by its HTTP status.
#[must_use]
pub fn unreadable(status: u16, repeat: Repeat) -> Failure {
    let detail = format!("TikTok returned HTTP {status} with a body that is not its API's");
    let failure = match (status, repeat) {
        (401, _) => Failure::reauthorize(detail),
        (429, _) => Failure::retry("rate_limited", detail, None),
        // The gateway rejected the request as invalid and did not pass it on. 408 reports only its own timeout.
        (400..=499, _) if status != 408 => Failure::permanent("connector_failed", detail),
        (_, Repeat::Never) => Failure::uncertain(detail),
        (_, Repeat::Safe) => Failure::retry("platform_unavailable", detail, None),
    };
    failure.reported_by_platform(Some(format!("HTTP {status}")), None, None)
}

fn by_code(code: u64, message: &str) -> Meaning {
    match code {
        40_016 | 40_100 | 40_132 | 40_133 | 61_000 => {
            return meaning(
                Act::Retry,
                "rate_limited",
                "TikTok limits this app's request rate; the host retries later.",
            );
        }
        40_102 | 40_104 | 40_105 => {
            return meaning(Act::Reauthorize, "", "TikTok refused the access token.");
        }
        40_103 | 40_107 | 40_110 | 40_130 | 40_131 => {
            return meaning(
                Act::Reauthorize,
                "",
                "TikTok reports that the authorization has ended; connect the account again.",
            );
        }
        _ => {}
    }
    // The code of these two texts is not documented, so the text decides.
    let lower = message.to_ascii_lowercase();
    if lower.contains("media send strategy") {
        return meaning(
            Act::Permanent,
            "media_not_allowed_in_region",
            "TikTok does not carry pictures between these two countries; send text.",
        );
    }
    if lower.contains("risk control strategy") {
        return meaning(
            Act::Permanent,
            "recipient_risk_controlled",
            "TikTok has restricted the contact's account; only TikTok can lift it.",
        );
    }
    match code {
        40_064 => meaning(
            Act::Permanent,
            "messaging_restricted",
            "TikTok blocked the message by its direct-message rules (window, number of messages, daily limit); it may pass \
             after the contact has written again.",
        ),
        40_001 | 40_003 | 40_106 => meaning(
            Act::Permanent,
            "ungranted_scopes",
            "TikTok reports that the app or the account may not do this; check the app's permissions, then authorize the channel \
             again with all scopes.",
        ),
        40_113 | 40_117 | 40_118 | 40_125 => meaning(
            Act::Permanent,
            "messaging_restricted",
            "TikTok has not approved this app for the call; its developer portal shows what is missing.",
        ),
        40_101 => meaning(
            Act::Permanent,
            "connector_failed",
            "TikTok has no app with this id and secret; correct them in the app's settings.",
        ),
        40_906 | 40_907 => meaning(
            Act::Permanent,
            "media_too_large",
            "TikTok refused the file for its size.",
        ),
        40_908 => meaning(
            Act::Permanent,
            "media_type_not_supported",
            "TikTok accepts only JPEG and PNG.",
        ),
        40_000..=40_999 => meaning(
            Act::Permanent,
            "connector_failed",
            "TikTok rejected the request as invalid.",
        ),
        50_000 | 51_039 | 51_065 | 60_001 => meaning(
            Act::Retry,
            "platform_unavailable",
            "TikTok reports an internal error or maintenance.",
        ),
        50_002 | 51_010 => meaning(
            Act::Unknown,
            "",
            "TikTok timed out internally; whether it acted is unknown.",
        ),
        20_001 | 50_001.. => meaning(
            Act::Unknown,
            "",
            "TikTok reported an internal error; whether it acted is unknown.",
        ),
        _ => meaning(
            Act::Permanent,
            "connector_failed",
            "TikTok refused the call with a code that this connector does not know.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use weir_sdk::types::Verdict;

    use super::*;

    fn send(code: u64, message: &str) -> Failure {
        refused(code, message.to_owned(), Some("r1".into()), Repeat::Never)
    }

    #[test]
    fn a_code_says_what_follows_for_a_send() {
        let permanent = Verdict::Permanent;
        let retry = Verdict::Retry(None);
        let cases = [
            (40_001, "You don't have permission", permanent, "ungranted_scopes"),
            (
                40_002,
                "Param conversation_id is invalid.",
                permanent,
                "connector_failed",
            ),
            (40_007, "", permanent, "connector_failed"),
            (
                40_064,
                "You are sending messages too fast. Take a rest.",
                permanent,
                "messaging_restricted",
            ),
            (
                40_064,
                "Due to Media send strategy",
                permanent,
                "media_not_allowed_in_region",
            ),
            (
                40_064,
                "due to RISK control strategy.",
                permanent,
                "recipient_risk_controlled",
            ),
            (
                40_002,
                "Due to risk control strategy.",
                permanent,
                "recipient_risk_controlled",
            ),
            (40_100, "App reaches the QPS limit.", retry, "rate_limited"),
            (61_000, "", retry, "rate_limited"),
            (
                40_105,
                "Access token is incorrect or has been revoked.",
                Verdict::Reauthorize,
                "reauthorization_required",
            ),
            (40_107, "", Verdict::Reauthorize, "reauthorization_required"),
            (40_907, "", permanent, "media_too_large"),
            (40_908, "", permanent, "media_type_not_supported"),
            (50_000, "", retry, "platform_unavailable"),
            (51_065, "", retry, "platform_unavailable"),
            (60_001, "", retry, "platform_unavailable"),
            (50_002, "", Verdict::Uncertain, "outcome_unknown"),
            (51_010, "", Verdict::Uncertain, "outcome_unknown"),
            (53_999, "", Verdict::Uncertain, "outcome_unknown"),
            (12_345, "", permanent, "connector_failed"),
        ];
        for (code, message, verdict, word) in cases {
            let failure = send(code, message);
            assert_eq!(
                (failure.verdict, failure.code.as_str()),
                (verdict, word),
                "{code} {message}"
            );
        }
    }

    #[test]
    fn platform_error_is_kept_verbatim() {
        let failure = send(40_064, "Due to risk control strategy.");
        assert_eq!(failure.platform_code.as_deref(), Some("40064"));
        assert_eq!(
            failure.platform_message.as_deref(),
            Some("Due to risk control strategy.")
        );
        assert_eq!(failure.platform_request_id.as_deref(), Some("r1"));
    }

    #[test]
    fn what_may_be_repeated_is_never_uncertain() {
        for code in [20_001, 50_002, 51_010, 53_999] {
            assert_eq!(
                refused(code, String::new(), None, Repeat::Safe).verdict,
                Verdict::Retry(None),
                "{code}"
            );
        }
        assert_eq!(unreadable(502, Repeat::Safe).verdict, Verdict::Retry(None));
    }

    #[test]
    fn a_page_in_place_of_an_answer_is_judged_by_its_status() {
        let cases = [
            (200, Verdict::Uncertain),
            (302, Verdict::Uncertain),
            (400, Verdict::Permanent),
            (401, Verdict::Reauthorize),
            (404, Verdict::Permanent),
            (408, Verdict::Uncertain),
            (429, Verdict::Retry(None)),
            (500, Verdict::Uncertain),
            (502, Verdict::Uncertain),
            (503, Verdict::Uncertain),
            (504, Verdict::Uncertain),
        ];
        for (status, verdict) in cases {
            assert_eq!(unreadable(status, Repeat::Never).verdict, verdict, "{status}");
        }
    }
}
