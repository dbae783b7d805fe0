//! The host's clock.

use crate::call::data::CallData;
use crate::interface::bindings::weir::connector::clock::Host;

impl Host for CallData {
    fn now(&mut self) -> u64 {
        let host = u64::try_from(self.moment().as_millis()).unwrap_or(0);
        self.trace.clock(host)
    }
}
