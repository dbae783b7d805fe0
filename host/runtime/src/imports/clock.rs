//! The host's clock.

use crate::bindings::weir::connector::clock::Host;
use crate::call::CallData;

impl Host for CallData {
    fn now(&mut self) -> u64 {
        let host = u64::try_from(self.moment().as_millis()).unwrap_or(0);
        self.tape.clock(host)
    }
}
