//! The addresses that a connection may use. Checked for every address that a name resolves to, and for literal
//! addresses; exactly the checked address is dialed.
//!
//! IPv4 has a deny list, IPv6 an allow list: there are so many ways to embed an IPv4 address in an IPv6 one (NAT64,
//! 6to4, Teredo, site-local, compatible) that a deny list would never be complete. Source: the IANA registries of
//! special-purpose addresses (RFC 6890 and its updates), and Microsoft's page on 168.63.129.16.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::policy::Reach;

/// Why an address may not be dialed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address} may not be dialed: it is {what}")]
pub struct AddressRefusal {
    /// The address, in its canonical form.
    pub address: IpAddr,
    /// The kind of address.
    pub what: &'static str,
}

/// Whether a request with this `reach` may dial `address`.
///
/// # Errors
/// The address is outside of the reach.
pub fn admit(address: IpAddr, reach: Reach) -> Result<(), AddressRefusal> {
    // ::ffff:a.b.c.d is the IPv4 address, for the kernel too.
    let address = address.to_canonical();
    let refusal = match reach {
        Reach::OperatorSet => None,
        Reach::Loopback if address.is_loopback() => None,
        Reach::Loopback => Some("not this machine, to which the operator mapped the origin"),
        Reach::Public => match address {
            IpAddr::V4(address) => not_public_v4(address),
            IpAddr::V6(address) => not_public_v6(address),
        },
    };
    refusal.map_or(Ok(()), |what| Err(AddressRefusal { address, what }))
}

/// Networks by first address and prefix length.
type Networks<A> = &'static [(A, u32, &'static str)];

const fn v4(a: u8, b: u8, c: u8, d: u8) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, d)
}

const NOT_PUBLIC_V4: Networks<Ipv4Addr> = &[
    (v4(0, 0, 0, 0), 8, "this network (0.0.0.0/8)"),
    (v4(10, 0, 0, 0), 8, "private (10.0.0.0/8)"),
    (v4(100, 64, 0, 0), 10, "shared by a carrier's customers (100.64.0.0/10)"),
    (v4(127, 0, 0, 0), 8, "this machine (127.0.0.0/8)"),
    (
        v4(168, 63, 129, 16),
        32,
        "Azure's own service inside each machine (168.63.129.16)",
    ),
    (
        v4(169, 254, 0, 0),
        16,
        "link-local, where clouds serve credentials (169.254.0.0/16)",
    ),
    (v4(172, 16, 0, 0), 12, "private (172.16.0.0/12)"),
    (v4(192, 0, 0, 0), 24, "for protocols (192.0.0.0/24)"),
    (v4(192, 0, 2, 0), 24, "for documentation (192.0.2.0/24)"),
    (v4(192, 88, 99, 0), 24, "a 6to4 relay (192.88.99.0/24)"),
    (v4(192, 168, 0, 0), 16, "private (192.168.0.0/16)"),
    (v4(198, 18, 0, 0), 15, "for benchmarks (198.18.0.0/15)"),
    (v4(198, 51, 100, 0), 24, "for documentation (198.51.100.0/24)"),
    (v4(203, 0, 113, 0), 24, "for documentation (203.0.113.0/24)"),
    (v4(224, 0, 0, 0), 4, "multicast (224.0.0.0/4)"),
    (v4(240, 0, 0, 0), 4, "reserved (240.0.0.0/4)"),
];

fn not_public_v4(address: Ipv4Addr) -> Option<&'static str> {
    NOT_PUBLIC_V4
        .iter()
        .find(|(network, bits, _)| (address.to_bits() ^ network.to_bits()).leading_zeros() >= *bits)
        .map(|(_, _, what)| *what)
}

/// The part of 2000::/3 that is not public.
const NOT_PUBLIC_V6: Networks<Ipv6Addr> = &[
    (
        Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0),
        23,
        "for protocols, Teredo among them (2001::/23)",
    ),
    (
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0),
        32,
        "for documentation (2001:db8::/32)",
    ),
    (
        Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0),
        16,
        "6to4, which carries an IPv4 address (2002::/16)",
    ),
    (
        Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0),
        20,
        "for documentation (3fff::/20)",
    ),
];

fn not_public_v6(address: Ipv6Addr) -> Option<&'static str> {
    if address.segments()[0] & 0xe000 != 0x2000 {
        return Some("outside the global unicast addresses (2000::/3)");
    }
    NOT_PUBLIC_V6
        .iter()
        .find(|(network, bits, _)| (address.to_bits() ^ network.to_bits()).leading_zeros() >= *bits)
        .map(|(_, _, what)| *what)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn is_public(text: &str) -> bool {
        admit(address(text), Reach::Public).is_ok()
    }

    #[test]
    fn refused_networks_have_exact_bounds() {
        // First, last; the adjacent addresses are public unless they belong to another such network.
        for (first, last) in [
            ("0.0.0.0", "0.255.255.255"),
            ("10.0.0.0", "10.255.255.255"),
            ("100.64.0.0", "100.127.255.255"),
            ("127.0.0.0", "127.255.255.255"),
            ("168.63.129.16", "168.63.129.16"),
            ("169.254.0.0", "169.254.255.255"),
            ("172.16.0.0", "172.31.255.255"),
            ("192.0.0.0", "192.0.0.255"),
            ("192.0.2.0", "192.0.2.255"),
            ("192.88.99.0", "192.88.99.255"),
            ("192.168.0.0", "192.168.255.255"),
            ("198.18.0.0", "198.19.255.255"),
            ("198.51.100.0", "198.51.100.255"),
            ("203.0.113.0", "203.0.113.255"),
            ("224.0.0.0", "255.255.255.255"),
        ] {
            assert!(!is_public(first), "{first}");
            assert!(!is_public(last), "{last}");
            let bits = |text: &str| u32::from(text.parse::<Ipv4Addr>().expect("an address"));
            if let Some(before) = bits(first).checked_sub(1) {
                assert_eq!(
                    admit(Ipv4Addr::from(before).into(), Reach::Public),
                    Ok(()),
                    "before {first}"
                );
            }
            if let Some(after) = bits(last).checked_add(1) {
                assert_eq!(
                    admit(Ipv4Addr::from(after).into(), Reach::Public),
                    Ok(()),
                    "after {last}"
                );
            }
        }
        for (text, public) in [
            ("1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false),
            ("2000::", true),
            ("2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true),
            ("2001::", false),
            ("2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", false),
            ("2001:200::", true),
            ("2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", true),
            ("2001:db8::", false),
            ("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", false),
            ("2001:db9::", true),
            ("2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true),
            ("2002::", false),
            ("2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false),
            ("2003::", true),
            ("3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true),
            ("3fff::", false),
            ("3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", false),
            ("3fff:1000::", true),
            ("3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true),
            ("4000::", false),
        ] {
            assert_eq!(is_public(text), public, "{text}");
        }
    }

    #[test]
    fn embedded_addresses_are_judged_too() {
        for text in [
            "::ffff:127.0.0.1",     // mapped
            "::ffff:a9fe:a9fe",     // mapped, 169.254.169.254
            "::127.0.0.1",          // compatible
            "::ffff:0:127.0.0.1",   // translated, RFC 2765
            "64:ff9b::a9fe:a9fe",   // NAT64
            "64:ff9b::8.8.8.8",     // NAT64 of a public address: not for us to translate
            "64:ff9b:1::a9fe:a9fe", // local NAT64
            "2002:a9fe:a9fe::1",    // 6to4
            "2001:0:a9fe:a9fe::1",  // Teredo
            "2001:20::1",           // ORCHID
            "fd00:ec2::254",        // a cloud's metadata by unique local address
            "fe80::1",              // link-local
            "fec0::1",              // site-local
            "ff02::1",              // multicast
            "100::1",               // discard
            "5f00::1",              // segment routing
            "::",
            "::1",
        ] {
            assert!(!is_public(text), "{text}");
        }
    }

    #[test]
    fn loopback_and_operator_reach_are_exact() {
        for text in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(admit(address(text), Reach::Loopback), Ok(()), "{text}");
        }
        for text in [
            "8.8.8.8",
            "0.0.0.0",
            "::",
            "10.0.0.1",
            "169.254.169.254",
            "2606:4700::1111",
        ] {
            assert!(admit(address(text), Reach::Loopback).is_err(), "{text}");
        }
        assert_eq!(admit(address("10.0.0.1"), Reach::OperatorSet), Ok(()));
    }

    proptest! {
        #[test]
        fn special_addresses_of_std_are_never_public(bits in any::<u32>()) {
            let v4 = Ipv4Addr::from_bits(bits);
            let special = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_broadcast()
                || v4.is_documentation() || v4.is_unspecified() || v4.is_multicast();
            prop_assert!(!(special && admit(v4.into(), Reach::Public).is_ok()));
            // As an IPv4-mapped address, it gets the same result.
            prop_assert_eq!(
                admit(v4.to_ipv6_mapped().into(), Reach::Public),
                admit(v4.into(), Reach::Public)
            );
            prop_assert!(admit(v4.to_ipv6_compatible().into(), Reach::Public).is_err());
        }

        #[test]
        fn no_special_ipv6_address_is_public(bits in any::<u128>()) {
            let v6 = Ipv6Addr::from_bits(bits);
            let special = v6.is_loopback() || v6.is_multicast() || v6.is_unspecified()
                || v6.is_unique_local() || v6.is_unicast_link_local();
            prop_assert!(!(special && admit(v6.into(), Reach::Public).is_ok()));
        }
    }
}
