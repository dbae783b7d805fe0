//! Rates that several hosts count together.

use std::time::Duration;

use weir_domain::policy::Rate;

/// A rate that applies to a request, under the name that all hosts use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedRate {
    pub(crate) bucket: String,
    pub(crate) permits: u32,
    pub(crate) per: Duration,
}

/// Departures of one rate that are stored: a document that is read and written with each request. A rule with more
/// permits is split into as many parts of its span.
const KEPT: u32 = 64;

impl SharedRate {
    /// A rule's rate. `bucket` names the requests that are counted together.
    pub fn of(bucket: String, rate: &Rate) -> Self {
        let permits = rate.permits.max(1);
        let kept = permits / permits.div_ceil(KEPT);
        Self {
            bucket,
            permits: kept,
            per: rate.per / permits * kept,
        }
    }

    /// Whether a request that was admitted so long ago may not be sent any more: without a response it is counted for a
    /// span from then on, and half of that is for its way to the platform.
    pub fn is_missed(&self, ago: Duration) -> bool {
        ago > self.per / 2
    }
}

/// The decision on a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leave {
    /// Send now, under a number for each of its rates.
    Now(Vec<u64>),
    /// Try again then, by the database's clock.
    At(Duration),
}

#[cfg(test)]
mod tests {
    use weir_domain::manifest::{RateScope, RouteClass};

    use super::*;

    #[test]
    fn a_departure_is_missed_in_the_second_half_of_its_span() {
        let rate = Rate {
            permits: 100,
            per: Duration::from_secs(1),
            scope: RateScope::App,
            classes: vec![RouteClass::MessageSend],
        };
        // Split into two parts of its span.
        let rate = SharedRate::of("tiktok/0".to_owned(), &rate);
        assert!(!rate.is_missed(Duration::from_millis(250)));
        assert!(rate.is_missed(Duration::from_millis(251)));
    }
}
