//! Origins and paths, and the patterns by which routes cover them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::{Host, Url};

/// Scheme, host and port: a request's destination, and the recipient of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl Origin {
    /// The origin of an http or https URL.
    pub fn of(url: &Url) -> Option<Self> {
        if !matches!(url.scheme(), "http" | "https") {
            return None;
        }
        Some(Self {
            scheme: url.scheme().to_owned(),
            host: url.host_str()?.to_owned(),
            port: url.port_or_known_default()?,
        })
    }

    /// The host's name, or its address as the URL standard serializes it.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether the host is an address of this machine (127.0.0.0/8, `::1`) or `localhost`.
    pub fn is_loopback(&self) -> bool {
        match Host::parse(&self.host) {
            Ok(Host::Domain(name)) => name == "localhost",
            Ok(Host::Ipv4(address)) => address.is_loopback(),
            Ok(Host::Ipv6(address)) => address.is_loopback(),
            Err(_) => false,
        }
    }

    /// `url` moved to this origin; path and query stay.
    pub fn apply(&self, url: &Url) -> Url {
        let mut moved = url.clone();
        // None of these can fail: the parts come from a parsed http(s) URL, and `url` is one too.
        let _ = moved.set_scheme(&self.scheme);
        let _ = moved.set_host(Some(&self.host));
        let _ = moved.set_port(Some(self.port));
        moved
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        match (self.scheme.as_str(), self.port) {
            ("https", 443) | ("http", 80) => Ok(()),
            (_, port) => write!(f, ":{port}"),
        }
    }
}

/// The text is not an origin.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is not an origin: {reason}")]
pub struct NotAnOrigin {
    text: String,
    reason: &'static str,
}

impl FromStr for Origin {
    type Err = NotAnOrigin;

    fn from_str(text: &str) -> Result<Self, NotAnOrigin> {
        let fail = |reason| NotAnOrigin {
            text: text.chars().take(128).collect(),
            reason,
        };
        let url = Url::parse(text).map_err(|_| fail("write it as https://host or http://host:port"))?;
        if url.path() != "/"
            || url.query().is_some()
            || url.fragment().is_some()
            || !url.username().is_empty()
            || url.password().is_some()
        {
            return Err(fail("it has more than scheme, host and port"));
        }
        Self::of(&url).ok_or_else(|| fail("its scheme is neither http nor https"))
    }
}

/// The origins that a route covers: one, or all subdomains of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginPattern {
    /// Without the wildcard's label.
    origin: Origin,
    below: bool,
}

impl OriginPattern {
    /// Whether `origin` is covered.
    pub fn covers(&self, origin: &Origin) -> bool {
        if !self.below {
            return *origin == self.origin;
        }
        origin.scheme == self.origin.scheme
            && origin.port == self.origin.port
            && origin
                .host
                .strip_suffix(self.origin.host.as_str())
                .is_some_and(|label| label.len() > 1 && label.ends_with('.'))
    }

    /// Whether every origin that this covers is covered by `wider` too.
    pub fn is_within(&self, wider: &Self) -> bool {
        if !self.below {
            return wider.covers(&self.origin);
        }
        wider.below && (self.origin == wider.origin || wider.covers(&self.origin))
    }

    /// Whether some origin is covered by both.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.is_within(other) || other.is_within(self)
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.below {
            f.write_str(&self.origin.to_string().replacen("://", "://*.", 1))
        } else {
            self.origin.fmt(f)
        }
    }
}

impl FromStr for OriginPattern {
    type Err = NotAnOrigin;

    fn from_str(text: &str) -> Result<Self, NotAnOrigin> {
        let fail = |reason| NotAnOrigin {
            text: text.chars().take(128).collect(),
            reason,
        };
        let below = text.contains("://*.");
        let origin: Origin = text.replacen("://*.", "://", 1).parse()?;
        match Host::parse(&origin.host) {
            Ok(Host::Domain(name)) if name.ends_with('.') => Err(fail("its host ends in a dot")),
            Ok(Host::Domain(name)) if below && !name.contains('.') => {
                Err(fail("the wildcard covers a whole top-level domain"))
            }
            Ok(Host::Domain(name)) if name.contains('*') => Err(fail("only the first label may be *")),
            Ok(Host::Domain(_)) if origin.scheme != "https" => Err(fail("a connector uses https only")),
            Ok(Host::Domain(_)) => Ok(Self { origin, below }),
            Ok(Host::Ipv4(_) | Host::Ipv6(_)) => Err(fail("a connector names hosts, not addresses")),
            Err(_) => Err(fail("its host cannot be read")),
        }
    }
}

/// The paths that a route covers: literal segments, `*` for any one, `**` at the end for any rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern(String);

impl PathPattern {
    /// Whether `path` is covered. Segments are compared as written in the URL, after the URL standard has resolved dot
    /// segments; a segment that servers interpret differently, or decode into a path that another route covers, never
    /// matches a wildcard.
    pub fn covers(&self, path: &str) -> bool {
        let mut segments = path.split('/');
        for want in self.0.split('/') {
            if want == "**" {
                return segments.all(plain);
            }
            match segments.next() {
                Some(have) if want == have || (want == "*" && !have.is_empty() && plain(have)) => {}
                _ => return false,
            }
        }
        segments.next().is_none()
    }

    /// Whether some path may be covered by both.
    pub fn overlaps(&self, other: &Self) -> bool {
        let (mut ours, mut theirs) = (self.0.split('/'), other.0.split('/'));
        loop {
            match (ours.next(), theirs.next()) {
                (Some("**"), _) | (_, Some("**")) | (None, None) => return true,
                (Some(one), Some(other)) if one == other || one == "*" || other == "*" => {}
                _ => return false,
            }
        }
    }
}

/// Whether every server interprets a segment literally: no encoded slash, dot, percent sign or control character, no
/// needlessly encoded letter, and no parameter after a semicolon, which some servers remove.
fn plain(segment: &str) -> bool {
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' | b';' => return false,
            b'%' => {
                let mut digit = || bytes.next().and_then(|digit| char::from(digit).to_digit(16));
                let (Some(high), Some(low)) = (digit(), digit()) else {
                    return false;
                };
                let decoded = char::from_u32(high * 16 + low).unwrap_or_default();
                if decoded.is_ascii_alphanumeric() || decoded.is_ascii_control() || "-_./\\%;".contains(decoded) {
                    return false;
                }
            }
            _ => {}
        }
    }
    true
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for PathPattern {
    type Err = NotAnOrigin;

    fn from_str(text: &str) -> Result<Self, NotAnOrigin> {
        let fail = |reason| NotAnOrigin {
            text: text.chars().take(128).collect(),
            reason,
        };
        let Some(rest) = text.strip_prefix('/') else {
            return Err(fail("a path begins with /"));
        };
        let segments: Vec<&str> = rest.split('/').collect();
        for (i, segment) in segments.iter().enumerate() {
            match *segment {
                "**" if i + 1 < segments.len() => return Err(fail("** is allowed only at the end")),
                "*" | "**" => {}
                literal if literal.contains(['*', '?', '#']) => {
                    return Err(fail("a segment is literal, * or **"));
                }
                _ => {}
            }
        }
        Ok(Self(text.to_owned()))
    }
}

macro_rules! as_text {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?
                    .parse()
                    .map_err(serde::de::Error::custom)
            }
        }
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .into()
            }
        }
        impl utoipa::ToSchema for $name {}
    };
}
as_text!(Origin);
as_text!(OriginPattern);
as_text!(PathPattern);

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        text.parse().expect("an origin")
    }

    #[test]
    fn a_pattern_covers_its_own_origin_and_no_lookalike() {
        let exact: OriginPattern = "https://business-api.tiktok.com".parse().expect("a pattern");
        assert!(exact.covers(&origin("https://business-api.tiktok.com")));
        for other in [
            "http://business-api.tiktok.com",
            "https://business-api.tiktok.com:8443",
            "https://business-api.tiktok.com.evil.example",
            "https://x.business-api.tiktok.com",
        ] {
            assert!(!exact.covers(&origin(other)), "{other}");
        }
    }

    #[test]
    fn wildcard_covers_only_subdomains() {
        let below: OriginPattern = "https://*.tiktokcdn.com".parse().expect("a pattern");
        assert!(below.covers(&origin("https://p16-sign.tiktokcdn.com")));
        assert!(below.covers(&origin("https://a.b.tiktokcdn.com")));
        for other in [
            "https://tiktokcdn.com",
            "https://eviltiktokcdn.com",
            "http://a.tiktokcdn.com",
            "https://a.tiktokcdn.com.evil.example",
        ] {
            assert!(!below.covers(&origin(other)), "{other}");
        }
        assert_eq!(below.to_string(), "https://*.tiktokcdn.com");
    }

    #[test]
    fn a_pattern_that_would_cover_too_much_is_refused() {
        for text in [
            "https://*",
            "https://*.com",
            "https://*.com.",
            "https://a.example.",
            "https://127.0.0.1",
            "https://2130706433",
            "https://[::1]",
            "http://a.example",
            "https://a.*.example",
            "https://a.example/path",
            "ftp://a.example",
        ] {
            assert!(text.parse::<OriginPattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn patterns_overlap_where_one_path_fits_both() {
        for (one, other, overlap) in [
            ("/a/b", "/a/b", true),
            ("/a/b", "/a/c", false),
            ("/a/*", "/a/c", true),
            ("/a/*", "/*/b", true),
            ("/a/**", "/a", true),
            ("/**", "/x/y/z", true),
            ("/a/*/c", "/a/**", true),
            ("/a/*", "/a/b/c", false),
            ("/b/**", "/a/**", false),
        ] {
            let [one, other] = [one, other].map(|text| text.parse::<PathPattern>().expect("a path"));
            assert_eq!(one.overlaps(&other), overlap, "{one} {other}");
            assert_eq!(other.overlaps(&one), overlap, "{other} {one}");
        }
    }

    #[test]
    fn a_path_is_matched_segment_by_segment() {
        let path: PathPattern = "/v1/*/messages/".parse().expect("a path");
        assert!(path.covers("/v1/123/messages/"));
        assert!(path.covers("/v1/~a%20b%C3%A4+@:!/messages/"));
        for other in [
            "/v1/123/messages",
            "/v1//messages/",
            "/v1/1/2/messages/",
            "/v1/a%2Fb/messages/",
            "/v1/%2e%2e/messages/",
            "/v1/%73end/messages/",
            "/v1/%2573end/messages/",
            "/v1/a;b/messages/",
            "/v1/a%00/messages/",
            "/v1/a%5Cb/messages/",
            "/v1/a%2/messages/",
        ] {
            assert!(!path.covers(other), "{other}");
        }
        let rest: PathPattern = "/media/**".parse().expect("a path");
        assert!(rest.covers("/media/a/b.jpg"));
        assert!(!rest.covers("/media/%2e%2e/secret"));
        assert!(!rest.covers("/other/a"));
    }
}
