//! The parameters of a query: a route refuses parameters that its description does not have, so that a misspelled
//! filter is not silently ignored, with the whole list as the answer.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use serde_json::Value;

use super::problem::{ApiResult, Problem};
use crate::core::nearest::nearest;

/// The parameters of each route, by method and path.
#[derive(Clone, Debug)]
pub(super) struct Described(Arc<HashMap<(Method, String), Vec<String>>>);

impl Described {
    /// From the description of the API.
    pub(super) fn of(api: &Value) -> Self {
        let mut all = HashMap::new();
        for (path, item) in api["paths"].as_object().into_iter().flatten() {
            for (method, operation) in item.as_object().into_iter().flatten() {
                let Ok(method) = method.to_ascii_uppercase().parse() else {
                    continue;
                };
                let parameters = operation["parameters"].as_array().into_iter().flatten();
                let names = parameters
                    .filter(|parameter| parameter["in"] == "query")
                    .filter_map(|parameter| parameter["name"].as_str().map(ToOwned::to_owned));
                all.insert((method, path.clone()), names.collect());
            }
        }
        Self(Arc::new(all))
    }

    /// # Errors
    /// Names the first parameter that the route does not have, and those that it has.
    fn check(&self, method: &Method, path: &str, query: &str) -> ApiResult<()> {
        // A HEAD request is answered by the handler of GET.
        let method = if method == Method::HEAD { &Method::GET } else { method };
        let Some(known) = self.0.get(&(method.clone(), path.to_owned())) else {
            return Ok(());
        };
        let mut names = url::form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name);
        match names.find(|name| !known.iter().any(|known| known == name)) {
            Some(unknown) => Err(refused(&unknown, known)),
            None => Ok(()),
        }
    }
}

/// The layer around every route that is called with a key.
pub(super) async fn refuse_unknown(
    State(described): State<Described>,
    request: Request,
    next: Next,
) -> ApiResult<Response> {
    if let (Some(query), Some(path)) = (request.uri().query(), request.extensions().get::<MatchedPath>()) {
        described.check(request.method(), path.as_str(), query)?;
    }
    Ok(next.run(request).await)
}

fn refused(unknown: &str, known: &[String]) -> Problem {
    /// Characters of an unknown name that the response repeats.
    const SHOWN: usize = 64;
    let name: String = unknown.chars().take(SHOWN).collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let words = match (nearest(unknown, &known), known.as_slice()) {
        (Some(near), _) => format!("this route does not have it; did you mean {near}?"),
        (None, []) => "this route has no query parameters".to_owned(),
        (None, known) => format!("this route does not have it; it has {}", known.join(", ")),
    };
    Problem::unknown_parameter(&name, words)
}
