//! Countries: where the platform's rules allow an account to be used.

use crate::policy::{Refusal, Rules};

/// A country in the form of the lists: ISO 3166-1 alpha-2 in upper case; `None` for anything else.
pub fn country(text: &str) -> Option<String> {
    let is_code = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphabetic());
    is_code.then(|| text.to_ascii_uppercase())
}

/// Whether an account of this country may be connected and used. An unknown country is allowed: the platform decides.
///
/// # Errors
/// The country is on the platform's list.
pub fn admit(rules: &Rules, country: Option<&str>) -> Result<(), Refusal> {
    let Some(country) = country else {
        return Ok(());
    };
    match rules
        .denied
        .iter()
        .find(|(denied, _)| denied.eq_ignore_ascii_case(country))
    {
        Some((_, source)) => Err(Refusal::RegionNotEligible {
            country: country.to_ascii_uppercase(),
            source_note: source.clone(),
        }),
        None => Ok(()),
    }
}
