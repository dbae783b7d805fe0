//! The API's error responses: one shape, RFC 9457. A handler returns a [`Problem`]; [`super::finish`] serializes it,
//! since only there is the request's id known.

use std::fmt::Display;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use weir_domain::id::RefusalId;
use weir_domain::policy::{Finding, Refusal};
use weir_domain::problem::Fault;
use weir_store::StoreError;

use crate::core::refusals::OPERATORS_LIMIT;

use super::codes::{self, Code};

/// The result of a handler.
pub(crate) type ApiResult<T> = Result<T, Problem>;

/// When to retry, if the host is overloaded.
pub(crate) const COME_BACK: Duration = Duration::from_secs(2);

/// A problem document to be returned.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    code: &'static Code,
    detail: Option<String>,
    errors: Vec<FieldError>,
    members: Map<String, Value>,
    retry_after: Option<Duration>,
}

/// An error in one part of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct FieldError {
    /// JSON Pointer (RFC 6901) into the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pointer: Option<String>,
    /// Name of a query parameter or a header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parameter: Option<String>,
    /// A stable code for programs.
    pub(crate) code: String,
    /// A sentence for people.
    pub(crate) detail: String,
}

/// A problem document (RFC 9457). Some codes have members of their own: `closed_at`, `limit`, `used`, `resets_on`,
/// `refusal_id`, `set_by`, `missing`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Document {
    /// The URL that explains the code.
    #[serde(rename = "type")]
    kind: String,
    /// A short title of the code.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What happened in this case.
    detail: String,
    /// Stable; switch on this.
    code: &'static str,
    /// The request's id in the log; also the header `X-Request-Id`.
    request_id: String,
    /// Who can fix it.
    fault: Fault,
    /// Whether the same request may succeed later.
    retryable: bool,
    /// The invalid parts of the request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    /// The facts that decided.
    #[serde(flatten)]
    #[schema(ignore)]
    members: Map<String, Value>,
}

impl Problem {
    /// A problem with this code.
    pub(crate) fn of(code: &'static Code) -> Self {
        Self {
            code,
            detail: None,
            errors: Vec::new(),
            members: Map::new(),
            retry_after: None,
        }
    }

    /// A refusal whose code comes from elsewhere in the host; an undocumented code is a bug in the host.
    pub(crate) fn named(code: &str) -> Self {
        codes::named(code).filter(|code| code.status != 0).map_or_else(
            || {
                tracing::error!(code, "A refusal has no entry in the table of codes");
                Self::of(&codes::INTERNAL_ERROR)
            },
            Self::of,
        )
    }

    /// Not found.
    pub(crate) fn no_such(what: &str) -> Self {
        Self::of(&codes::NOT_FOUND).detail(format_args!("there is no such {what} in this workspace"))
    }

    /// An invalid parameter of the query or header.
    pub(crate) fn parameter(name: &str, detail: impl Display) -> Self {
        Self::of_parameter(name, "invalid", detail)
    }

    /// A parameter of the query that the route does not have.
    pub(crate) fn unknown_parameter(name: &str, detail: impl Display) -> Self {
        Self::of_parameter(name, "unknown", detail)
    }

    fn of_parameter(name: &str, code: &str, detail: impl Display) -> Self {
        let mut problem = Self::of(&codes::INVALID_PARAMETER).detail(format_args!("{name}: {detail}"));
        problem.errors.push(FieldError {
            pointer: None,
            parameter: Some(name.to_owned()),
            code: code.to_owned(),
            detail: detail.to_string(),
        });
        problem
    }

    /// An invalid member of the body.
    pub(crate) fn member(pointer: &str, detail: impl Display) -> Self {
        Self::of(&codes::INVALID_REQUEST)
            .detail(format_args!(
                "{}: {detail}",
                if pointer.is_empty() { "the body" } else { pointer }
            ))
            .at(pointer, "invalid", &detail)
    }

    /// An unexpected error: the log has the details, the caller receives only the request's id.
    pub(crate) fn internal(cause: impl Display) -> Self {
        tracing::error!(%cause, "A request failed");
        Self::of(&codes::INTERNAL_ERROR)
    }

    /// What happened in this case.
    pub(crate) fn detail(mut self, detail: impl Display) -> Self {
        self.detail = Some(detail.to_string());
        self
    }

    /// Points at a member of the body.
    pub(crate) fn at(mut self, pointer: &str, code: &str, detail: &dyn Display) -> Self {
        self.errors.push(FieldError {
            pointer: Some(pointer.to_owned()),
            parameter: None,
            code: code.to_owned(),
            detail: detail.to_string(),
        });
        self
    }

    /// A fact, as a member of the document.
    pub(crate) fn with(mut self, name: &str, value: impl Serialize) -> Self {
        // Our own types always serialize to JSON; a member that does not is omitted rather than failing the response.
        if let Ok(value) = serde_json::to_value(value) {
            self.members.insert(name.to_owned(), value);
        }
        self
    }

    /// When to retry.
    pub(crate) fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// A policy's refusal, with the facts on both sides.
    pub(crate) fn refusal(refusal: &Refusal) -> Self {
        let mut problem = Self::named(refusal.code()).detail(refusal);
        if let Ok(Value::Object(facts)) = serde_json::to_value(refusal) {
            problem.members.extend(
                facts
                    .into_iter()
                    .filter(|(name, _)| !matches!(name.as_str(), "code" | "findings")),
            );
        }
        if matches!(
            refusal,
            Refusal::ReplyWindowClosed { .. } | Refusal::MessageBudgetExhausted { .. }
        ) {
            problem = problem.with("resets_on", "contact_message");
        }
        problem.errors = refusal.findings().into_iter().map(FieldError::from).collect();
        problem
    }

    /// Adds the id of the stored refusal.
    pub(crate) fn refused_as(self, id: Option<RefusalId>) -> Self {
        match id {
            Some(id) => self.with("refusal_id", id),
            None => self,
        }
    }

    /// Notes that the limit is the operator's own, and not the platform's.
    pub(crate) fn set_by_operator(mut self) -> Self {
        self.detail = self.detail.map(|detail| detail + OPERATORS_LIMIT);
        self.with("set_by", "operator")
    }

    /// Its status.
    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.code.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Its code.
    pub(crate) fn code(&self) -> &'static Code {
        self.code
    }

    /// How long to wait, for the header.
    pub(crate) fn wait(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The document, for the request of this id.
    pub(crate) fn document(self, request_id: &str) -> Document {
        Document {
            kind: format!("/docs/errors#{}", self.code.name),
            title: self.code.title,
            status: self.status().as_u16(),
            detail: self.detail.unwrap_or_else(|| self.code.meaning.to_owned()),
            code: self.code.name,
            request_id: request_id.to_owned(),
            fault: self.code.fault,
            retryable: self.code.retryable,
            errors: self.errors,
            members: self.members,
        }
    }

    /// The meaning of a bare status: a library rejected the request before a handler could.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        Self::of(match status {
            StatusCode::NOT_FOUND => &codes::NOT_FOUND,
            StatusCode::METHOD_NOT_ALLOWED => &codes::METHOD_NOT_ALLOWED,
            StatusCode::REQUEST_TIMEOUT => &codes::REQUEST_TIMEOUT,
            StatusCode::GATEWAY_TIMEOUT => &codes::STILL_AT_WORK,
            StatusCode::PAYLOAD_TOO_LARGE => &codes::BODY_TOO_LARGE,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => &codes::UNSUPPORTED_MEDIA_TYPE,
            status if status.is_client_error() => &codes::INVALID_PARAMETER,
            _ => &codes::INTERNAL_ERROR,
        })
    }
}

impl Document {
    /// The error as a sentence for a page.
    pub(crate) fn describe(self) -> String {
        self.detail
    }
}

impl IntoResponse for Problem {
    /// The status, and the problem itself as an extension for the layer that serializes it.
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Finding> for FieldError {
    fn from(finding: Finding) -> Self {
        Self {
            pointer: Some(finding.pointer),
            parameter: None,
            code: finding.code,
            detail: finding.detail,
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable { reason } => Self::of(&codes::STORE_UNAVAILABLE)
                .detail(format_args!("{reason}; nothing was written"))
                .retry_after(COME_BACK),
            StoreError::Unknown { reason } => {
                tracing::error!(%reason, "The response to a commit was lost");
                Self::of(&codes::WRITE_UNKNOWN).detail(reason)
            }
            // Only under a running host: the database was moved away, or is encrypted with another key.
            StoreError::WrongKey | StoreError::Closed(_) => {
                Self::of(&codes::STORE_UNAVAILABLE).detail(error).retry_after(COME_BACK)
            }
            StoreError::Damaged { .. } | StoreError::Schema(_) | StoreError::Database(_) => Self::internal(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use weir_domain::time::Timestamp;

    fn document(problem: Problem) -> Value {
        serde_json::to_value(problem.document("req_1")).expect("json")
    }

    #[test]
    fn refusal_carries_facts_without_retry_time() {
        let problem = Problem::refusal(&Refusal::MessageBudgetExhausted { limit: 10, used: 10 });
        assert_eq!(problem.wait(), None);
        let document = document(problem);
        assert_eq!(document["status"], 409);
        assert_eq!(document["code"], "message_budget_exhausted");
        assert_eq!(document["type"], "/docs/errors#message_budget_exhausted");
        assert_eq!((&document["limit"], &document["used"]), (&json!(10), &json!(10)));
        assert_eq!(document["resets_on"], "contact_message");
        assert_eq!(document["request_id"], "req_1");
    }

    #[test]
    fn a_refusal_of_the_content_points_at_the_member() {
        let document = document(Problem::refusal(&Refusal::TextTooLong { max: 10, actual: 11 }));
        assert_eq!(document["status"], 422);
        assert_eq!(document["errors"][0]["pointer"], "/content/text");
        assert_eq!(document["errors"][0]["code"], "text_too_long");
    }

    #[test]
    fn every_refusal_has_documented_code() {
        let text = String::new;
        let all = [
            Refusal::ReplyWindowClosed {
                closed_at: Timestamp::from_millis(0),
            },
            Refusal::MessageBudgetExhausted { limit: 1, used: 1 },
            Refusal::ConversationInitiationNotAllowed,
            Refusal::RegionNotEligible {
                country: text(),
                source_note: text(),
            },
            Refusal::ChannelDeleted,
            Refusal::ChannelPaused,
            Refusal::ReauthorizationRequired,
            Refusal::TextEmpty,
            Refusal::TextTooLong { max: 1, actual: 2 },
            Refusal::LinkNotAllowed,
            Refusal::ContentTypeNotSupported { kind: text() },
            Refusal::MediaTypeNotSupported {
                actual: text(),
                allowed: vec![],
            },
            Refusal::MediaTooLarge { max: 1, actual: 2 },
            Refusal::MediaNotStored { id: text() },
            Refusal::MediaNotAllowedInRegion { reason: text() },
            Refusal::BroadcastNotSupported,
            Refusal::DraftInvalid { findings: vec![] },
        ];
        for refusal in all {
            let status = if refusal.is_about_content() { 422 } else { 409 };
            let problem = Problem::refusal(&refusal);
            assert_eq!(problem.code().name, refusal.code());
            assert_eq!(problem.status().as_u16(), status, "{}", refusal.code());
        }
    }

    #[test]
    fn what_the_store_cannot_take_is_503_with_a_time_to_come_back() {
        let problem = Problem::from(StoreError::Unavailable {
            reason: "the disk is full".into(),
        });
        assert_eq!((problem.status().as_u16(), problem.wait()), (503, Some(COME_BACK)));
        // With 500 it is unknown which steps of the request with this Idempotency-Key completed.
        let unknown = Problem::from(StoreError::Unknown {
            reason: "the connection broke".into(),
        });
        assert_eq!((unknown.code().name, unknown.status().as_u16()), ("write_unknown", 500));
        assert_eq!(Problem::from(StoreError::Database("x".into())).status().as_u16(), 500);
    }
}
