//! The cookies of this host: one binds a connect link to the browser that opened it, one is the console's session. No
//! script reads them.

use std::borrow::Cow;

use weir_domain::id::ConnectSessionId;

use crate::core::config::Config;

/// One of them.
pub(crate) struct Cookie {
    name: Cow<'static, str>,
    same_site: &'static str,
}

/// Lax, since the callback is a top-level navigation from the platform's site. Each session has its own, so that two
/// links can be open in one browser.
pub(crate) fn connect(session: ConnectSessionId) -> Cookie {
    Cookie {
        name: format!("weir-connect-{session}").into(),
        same_site: "Lax",
    }
}

/// Strict: requests initiated by another site do not carry it.
pub(crate) const SESSION: Cookie = Cookie {
    name: Cow::Borrowed("weir-session"),
    same_site: "Strict",
};

impl Cookie {
    /// Over TLS a prefix restricts the cookie to this very host (RFC 6265bis, 4.1.3).
    fn name(&self, config: &Config) -> String {
        let prefix = if config.is_https() { "__Host-" } else { "" };
        format!("{prefix}{}", self.name)
    }

    /// The value of `set-cookie`; a lifetime of 0 seconds deletes the cookie.
    pub(crate) fn set(&self, config: &Config, value: &str, seconds: u64) -> String {
        let (name, same_site) = (self.name(config), self.same_site);
        let secure = if config.is_https() { "; Secure" } else { "" };
        format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite={same_site}{secure}")
    }

    /// Its value in a `cookie` header.
    pub(crate) fn value<'c>(&self, config: &Config, header: &'c str) -> Option<&'c str> {
        let name = self.name(config);
        header
            .split(';')
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(key, _)| *key == name.as_str())
            .map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use weir_domain::time::Timestamp;

    use super::*;

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let folder = tempfile::tempdir().expect("a directory");
        let config = Config::for_testing(folder.path());
        assert_eq!(SESSION.value(&config, "a=1; weir-session=x; b=2"), Some("x"));
        assert_eq!(SESSION.value(&config, "not-weir-session=x"), None);
        assert_eq!(
            SESSION.set(&config, "x", 60),
            "weir-session=x; Path=/; Max-Age=60; HttpOnly; SameSite=Strict"
        );
    }

    #[test]
    fn two_connect_links_have_a_cookie_each() {
        let folder = tempfile::tempdir().expect("a directory");
        let config = Config::for_testing(folder.path());
        let mint = weir_domain::id::Mint::from_seed([1; 32]);
        let ids: [ConnectSessionId; 2] = [mint.id(Timestamp::default()), mint.id(Timestamp::default())];
        let header = format!("weir-connect-{}=one; weir-connect-{}=two", ids[0], ids[1]);
        let shown = ids.map(|id| connect(id).value(&config, &header));
        assert_eq!(shown, [Some("one"), Some("two")]);
    }
}
