//! Suggestions for misspelled names.

/// The known name closest to `text`; `None` if no name is similar.
pub(crate) fn nearest<'n>(text: &str, names: &[&'n str]) -> Option<&'n str> {
    /// The threshold from which clap also suggests a name.
    const ALIKE: f64 = 0.7;
    let of = |name: &&'n str| (strsim::jaro(text, name), *name);
    let (likeness, name) = names.iter().map(of).max_by(|one, other| one.0.total_cmp(&other.0))?;
    (likeness > ALIKE).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_name_finds_its_neighbor() {
        let known = ["channel_id", "limit", "cursor"];
        for (text, near) in [
            ("chanel_id", Some("channel_id")),
            ("Limit", Some("limit")),
            ("cusror", Some("cursor")),
            ("username", None),
            ("", None),
        ] {
            assert_eq!(nearest(text, &known), near, "{text}");
        }
        assert_eq!(nearest("limit", &[]), None);
    }
}
