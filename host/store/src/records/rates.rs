//! Rates that several hosts count together.

use std::time::Duration;

use weir_domain::policy::Rate;

/// A rate that counts a request, under the name that all hosts know it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedRate {
    pub(crate) bucket: String,
    pub(crate) permits: u32,
    pub(crate) per: Duration,
}

/// Departures of one rate that the record keeps: a document that is read and written with each request. A rule with more permits is
/// kept by as many parts of its span.
const KEPT: u32 = 64;

impl SharedRate {
    /// A rule's rate. `bucket` names who counts together.
    pub fn of(bucket: String, rate: &Rate) -> Self {
        let permits = rate.permits.max(1);
        let kept = permits / permits.div_ceil(KEPT);
        Self {
            bucket,
            permits: kept,
            per: rate.per / permits * kept,
        }
    }
}

/// What a request that would leave is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leave {
    /// Leave now, under a number for each of its rates.
    Now(Vec<u64>),
    /// Ask again then, by the clock of the record.
    At(Duration),
}
