//! Request parameters, read with TikTok's refusals: a JSON body, or a query as an object of texts.

use serde_json::{Map, Value};

use crate::refusal::Refusal;

/// The parameters of one call.
#[derive(Debug, Clone, Default)]
pub struct Params(Map<String, Value>);

impl Params {
    /// The parameters in a JSON body.
    ///
    /// # Errors
    /// 40002 if it is not a JSON object.
    pub fn from_json(body: &[u8]) -> Result<Self, Refusal> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            _ => Err(Refusal::parameter("The request body is not a JSON object.")),
        }
    }

    /// The parameters in a query string. A `+` reads as a space, as everywhere on the web.
    pub fn from_query(query: &str) -> Self {
        Self(
            url::form_urlencoded::parse(query.as_bytes())
                .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
                .collect(),
        )
    }

    /// The parameters inside an object.
    ///
    /// # Errors
    /// 40002 if it is missing or not an object.
    pub fn object(&self, name: &str) -> Result<Self, Refusal> {
        match self.0.get(name) {
            Some(Value::Object(fields)) => Ok(Self(fields.clone())),
            None | Some(Value::Null) => Err(Refusal::missing(name)),
            Some(_) => Err(Refusal::invalid(name)),
        }
    }

    /// A required, non-empty string.
    ///
    /// # Errors
    /// 40002.
    pub fn text(&self, name: &str) -> Result<&str, Refusal> {
        match self.0.get(name) {
            Some(Value::String(text)) if !text.is_empty() => Ok(text),
            None | Some(Value::Null) => Err(Refusal::missing(name)),
            Some(_) => Err(Refusal::invalid(name)),
        }
    }

    /// An optional string.
    ///
    /// # Errors
    /// 40002 if the value is not a string.
    pub fn maybe_text(&self, name: &str) -> Result<Option<&str>, Refusal> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Refusal::invalid(name)),
        }
    }

    /// An optional whole number, as JSON or as digits in a query.
    ///
    /// # Errors
    /// 40002 if it is not such a number.
    pub fn maybe_number(&self, name: &str) -> Result<Option<usize>, Refusal> {
        let number = match self.0.get(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) => text.parse().ok(),
            Some(value) => value.as_u64().and_then(|number| usize::try_from(number).ok()),
        };
        number.map(Some).ok_or_else(|| Refusal::invalid(name))
    }

    /// An optional list of strings: a JSON array, or one written into a query value.
    ///
    /// # Errors
    /// 40002 if it is not such a list.
    pub fn maybe_texts(&self, name: &str) -> Result<Option<Vec<String>>, Refusal> {
        let list = match self.0.get(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(json)) => serde_json::from_str(json),
            Some(value) => serde_json::from_value(value.clone()),
        };
        list.map(Some).map_err(|_| Refusal::invalid(name))
    }

    /// A required list of objects.
    ///
    /// # Errors
    /// 40002.
    pub fn objects(&self, name: &str) -> Result<Vec<Self>, Refusal> {
        let Some(Value::Array(items)) = self.0.get(name) else {
            return Err(Refusal::missing(name));
        };
        items
            .iter()
            .map(|item| match item {
                Value::Object(fields) => Ok(Self(fields.clone())),
                _ => Err(Refusal::invalid(name)),
            })
            .collect()
    }

    /// Whether a value other than null was sent under this name.
    pub fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| !value.is_null())
    }
}
