//! Requests internal addresses: this machine, its network and the cloud's metadata service, in every notation, directly
//! and by name.

use weir_hostile::{Hostile, TRIES, component, first_try, report};
use weir_sdk::http;
use weir_sdk::outbound::{Draft, Sent};
use weir_sdk::types::Failure;

struct Inward;

impl Hostile for Inward {
    const NAME: &'static str = "hostile-inward";

    fn send(draft: Draft) -> Result<Sent, Failure> {
        let tried = URLS.iter().skip(first_try(&draft)).take(TRIES);
        let count = tried.map(|url| report(url, &http::get(url).fetch())).count();
        Err(Failure::permanent("tried", count.to_string()))
    }
}

/// The last ones are names under the platform's own domain, which a route covers and a resolver maps to internal
/// addresses.
const URLS: &[&str] = &[
    "http://127.0.0.1/",
    "https://127.0.0.1/",
    "https://127.1/",
    "https://127.0.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.1/",
    "https://017700000001/",
    "https://0177.0.0.1/",
    "https://127.0.0.1./",
    "https://0/",
    "https://0.0.0.0/",
    "https://localhost/",
    "https://localhost./",
    "https://LOCALHOST/",
    "https://foo.localhost/",
    "https://[::1]/",
    "https://[::]/",
    "https://[0:0:0:0:0:0:0:1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[::127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[64:ff9b::a9fe:a9fe]/",
    "https://[64:ff9b:1::a00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[2002:a9fe:a9fe::1]/",
    "https://[2001:0:a9fe:a9fe::1]/",
    "https://[fe80::1]/",
    "https://[fc00::1]/",
    "https://[fd00:ec2::254]/",
    "https://[fec0::1]/",
    "https://[ff02::1]/",
    "https://[5f00::1]/",
    "https://[100::1]/",
    "https://169.254.169.254/latest/meta-data/",
    "http://169.254.169.254/latest/meta-data/",
    "https://169.254.43518/",
    "https://2852039166/",
    "https://0xa9fea9fe/",
    "https://0251.0376.0251.0376/",
    "https://metadata.google.internal/",
    "https://168.63.129.16/",
    "https://100.100.100.200/",
    "https://10.0.0.1/",
    "https://172.16.0.1/",
    "https://192.168.0.1/",
    "https://192.0.0.192/",
    "https://198.18.0.1/",
    "https://224.0.0.1/",
    "https://255.255.255.255/",
    "https://①②⑦.⓪.⓪.①/",
    "https://127。0。0。1/",
    "https://platform.example@127.0.0.1/",
    "https://127.0.0.1\\@platform.example/",
    "https://127.0.0.1#@platform.example/",
    "https://platform.example.evil.example/",
    "https://evil.example/platform.example/",
    "https://platform.example:22/me",
    "https://platform.example:6379/me",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "unix:/var/run/docker.sock",
    "data:text/plain,hi",
    "//127.0.0.1/",
    "",
    "https://inward-v4.platform.example/",
    "https://inward-v6.platform.example/",
    "https://rebinds.platform.example/",
    "https://rebinds.platform.example/",
];

component!(Inward);
