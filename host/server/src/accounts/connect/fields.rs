//! Accounts of a connector without OAuth: a person enters fields instead of logging in.

use std::collections::BTreeMap;

use weir_domain::credential::{Credential, Secret};
use weir_domain::manifest::{ACCESS_TOKEN, Setting};
use weir_domain::time::Timestamp;

use super::failure::ConnectError;

/// Compares the entered values with the fields that the manifest requires.
pub(super) fn entered(
    fields: &[Setting],
    given: &BTreeMap<String, Secret>,
    now: Timestamp,
) -> Result<Credential, ConnectError> {
    let unknown = given
        .keys()
        .find(|name| !fields.iter().any(|field| field.name == **name));
    if let Some(name) = unknown {
        return Err(ConnectError::Invalid(format!("the connector has no field {name:?}")));
    }
    let missing = fields
        .iter()
        .find(|field| field.required && given.get(&field.name).is_none_or(|value| value.expose().is_empty()));
    if let Some(field) = missing {
        let Setting { name, label, help, .. } = field;
        return Err(ConnectError::Invalid(format!(
            "the field {name:?} ({label}) is missing: {help}"
        )));
    }
    for (name, value) in given {
        // An optional field may be empty.
        if !value.expose().is_empty() {
            value
                .check()
                .map_err(|wrong| ConnectError::Invalid(format!("the field {name:?} is invalid: {wrong}")))?;
        }
    }
    let token = given
        .get(ACCESS_TOKEN)
        .ok_or_else(|| ConnectError::Invalid(format!("the field {ACCESS_TOKEN:?} is missing")))?;
    Ok(Credential {
        access_token: token.clone(),
        refresh_token: None,
        expires_at: None,
        refresh_expires_at: None,
        renewed_at: now,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_entered_is_held_against_the_fields() {
        let field = Setting {
            name: ACCESS_TOKEN.into(),
            label: "Token".into(),
            secret: true,
            required: true,
            help: "from the portal".into(),
        };
        let now = Timestamp::default();
        let fields = [field];
        let token = Secret::new("t");
        let given = BTreeMap::from([(ACCESS_TOKEN.to_owned(), token.clone())]);
        assert_eq!(
            entered(&fields, &given, now).map(|c| c.access_token).ok(),
            Some(token.clone())
        );
        assert!(entered(&fields, &BTreeMap::new(), now).is_err());
        let copied = BTreeMap::from([(ACCESS_TOKEN.to_owned(), Secret::new("t\n"))]);
        assert!(entered(&fields, &copied, now).is_err());
        let stray = BTreeMap::from([("other".to_owned(), token)]);
        assert!(entered(&fields, &stray, now).is_err());
    }
}
