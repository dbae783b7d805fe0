//! Which countries TikTok treats differently. Codes are ISO 3166-1 alpha-2.

/// EU 27, then Iceland, Liechtenstein, Norway.
const EEA: [&str; 30] = [
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT", "LT", "LU", "LV",
    "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK", "IS", "LI", "NO",
];

/// Outside the EU, where TikTok does not carry media in direct messages
/// (respond.io, TikTok overview: "Sending TikTok media is not available in").
const WITHOUT_IMAGES: [&str; 14] = [
    "AU", "CO", "GB", "IN", "IR", "JP", "KP", "KR", "NG", "PH", "RU", "TR", "UA", "US",
];

/// Whether the country is in the EEA, Switzerland or the United Kingdom: a business there may not use the API for
/// messages, and a person there reaches it only as `im_receive_msg_eu`.
pub fn is_restricted(country: &str) -> bool {
    EEA.contains(&country) || country == "CH" || country == "GB"
}

/// Whether images work in direct messages there. Both sides must be in such a country.
pub fn carries_images(country: &str) -> bool {
    !EEA.contains(&country) && !WITHOUT_IMAGES.contains(&country)
}

/// Where Comment-to-Message exists (TikTok API reference, Comment-to-Message).
pub fn has_comment_to_message(country: &str) -> bool {
    matches!(country, "VN" | "ID" | "TH")
}

/// Whether a code is two upper-case letters; it need not be an assigned one.
pub fn is_code(country: &str) -> bool {
    country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_need_a_country_off_the_list() {
        for with in ["ID", "BR", "MX", "SG"] {
            assert!(carries_images(with), "{with}");
        }
        for without in ["DE", "JP", "GB", "US", "UA"] {
            assert!(!carries_images(without), "{without}");
        }
    }

    #[test]
    fn switzerland_and_the_uk_count_as_restricted() {
        for country in ["DE", "NO", "CH", "GB"] {
            assert!(is_restricted(country), "{country}");
        }
        assert!(!is_restricted("UA"));
    }
}
