//! The cookies of this host: one binds a connect link to the browser that opened it, one is the console's session. No script
//! reads them.

use crate::Config;

/// One of them.
pub(crate) struct Cookie {
    plain: &'static str,
    /// The prefix keeps the cookie to this very host, and browsers take it over TLS only (RFC 6265bis, 4.1.3).
    over_tls: &'static str,
    same_site: &'static str,
}

/// Lax, since the callback is a top-level visit that comes from the platform's site.
pub(crate) const CONNECT: Cookie = Cookie {
    plain: "weir-connect",
    over_tls: "__Host-weir-connect",
    same_site: "Lax",
};

/// Strict: no request that another site begins carries it.
pub(crate) const SESSION: Cookie = Cookie {
    plain: "weir-session",
    over_tls: "__Host-weir-session",
    same_site: "Strict",
};

impl Cookie {
    fn name(&self, config: &Config) -> &'static str {
        if config.is_https() { self.over_tls } else { self.plain }
    }

    /// The value of `set-cookie`; one that lives for 0 seconds takes the cookie back.
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
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = Config::for_testing(folder.path());
        assert_eq!(CONNECT.value(&config, "a=1; weir-connect=x; b=2"), Some("x"));
        assert_eq!(CONNECT.value(&config, "not-weir-connect=x"), None);
        assert_eq!(
            CONNECT.set(&config, "x", 60),
            "weir-connect=x; Path=/; Max-Age=60; HttpOnly; SameSite=Lax"
        );
    }
}
