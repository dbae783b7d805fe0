//! Rate limits of addresses with failures: a small burst, then one per interval. For wrong keys and for forged
//! webhooks.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use weir_domain::time::Timestamp;

/// Failures of each address.
#[derive(Debug, Default)]
pub(crate) struct Failures(Mutex<HashMap<IpAddr, Bucket>>);

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: u32,
    at: Timestamp,
}

/// Burst of failures for each address: a person who mistypes, a deployment with an old key on every worker.
const BURST: u32 = 20;
/// One more after each interval.
const REFILL: Duration = Duration::from_secs(3);
/// Addresses that are remembered; beyond this the one with the oldest failure is dropped.
const ADDRESSES: usize = 4_096;

impl Failures {
    /// How long this address must wait before its next attempt; `None` if it need not.
    pub(crate) fn wait(&self, address: IpAddr, now: Timestamp) -> Option<Duration> {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.get_mut(&network(address))?;
        bucket.refill(now);
        (bucket.left == 0).then_some(REFILL)
    }

    /// Counts a failure. Returns how long to wait, if there were too many.
    pub(crate) fn count(&self, address: IpAddr, now: Timestamp) -> Option<Duration> {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let address = network(address);
        if buckets.len() >= ADDRESSES && !buckets.contains_key(&address) {
            let oldest = buckets
                .iter()
                .min_by_key(|(_, bucket)| bucket.at)
                .map(|(address, _)| *address);
            oldest.and_then(|oldest| buckets.remove(&oldest));
        }
        let bucket = buckets.entry(address).or_insert(Bucket { left: BURST, at: now });
        bucket.refill(now);
        if bucket.left == 0 {
            return Some(REFILL);
        }
        bucket.left -= 1;
        None
    }
}

impl Bucket {
    fn refill(&mut self, now: Timestamp) {
        let spans = now.since(self.at).as_millis() / REFILL.as_millis();
        if spans > 0 {
            self.left = self
                .left
                .saturating_add(u32::try_from(spans).unwrap_or(BURST))
                .min(BURST);
            self.at = now;
        }
    }
}

/// One subscriber typically has a whole /64 of IPv6 (RFC 4291, 2.5.4), so its addresses count as one.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn v4(last: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, last))
    }

    #[test]
    fn failed_attempts_refill_slowly() {
        let failures = Failures::default();
        let at = Timestamp::from_millis;
        for _ in 0..BURST {
            assert_eq!(failures.count(v4(1), at(0)), None);
        }
        assert_eq!(failures.count(v4(1), at(0)), Some(REFILL));
        assert_eq!(failures.wait(v4(1), at(2_999)), Some(REFILL));
        assert_eq!(failures.wait(v4(2), at(2_999)), None);
        assert_eq!(failures.count(v4(1), at(2_999)), Some(REFILL));
        assert_eq!(
            failures.count(v4(2), at(2_999)),
            None,
            "another address is not affected"
        );
        assert_eq!(failures.count(v4(1), at(3_000)), None);
        assert_eq!(failures.count(v4(1), at(3_000)), Some(REFILL));
    }

    #[test]
    fn a_flood_of_addresses_takes_bounded_memory() {
        let failures = Failures::default();
        for n in 0..10_000_u32 {
            failures.count(IpAddr::V4(Ipv4Addr::from_bits(n)), Timestamp::from_millis(i64::from(n)));
        }
        assert_eq!(failures.0.lock().expect("not poisoned").len(), ADDRESSES);
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one() {
        let failures = Failures::default();
        for n in 0..BURST {
            let address = format!("2001:db8::{n:x}").parse().expect("an address");
            assert_eq!(failures.count(address, Timestamp::from_millis(0)), None);
        }
        let one_more = "2001:db8::ffff".parse().expect("an address");
        assert_eq!(failures.count(one_more, Timestamp::from_millis(0)), Some(REFILL));
    }
}
