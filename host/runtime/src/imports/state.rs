//! A channel's state: reads see the writes of the same call, and the writes are returned when the call returns.

use weir_domain::limits;

use crate::call::data::CallData;
use crate::context::{Act, Refused};
use crate::interface::bindings::weir::connector::state::{Error, Host};
use crate::state::StateView;
use crate::text;

impl CallData {
    fn state(&mut self) -> Result<&mut StateView, Error> {
        let call = self.kind.as_str();
        self.state
            .as_mut()
            .ok_or_else(|| Error::Refused(format!("`{call}` has no state")))
    }

    fn refused_state(&mut self, key: &str, error: &Error) {
        if !self.reports_refusal() {
            return;
        }
        let (rule, detail) = match error {
            Error::Quota(detail) => ("state_quota", detail),
            Error::Refused(detail) => ("no_state", detail),
        };
        self.host.observer.on_refusal(&Refused {
            connector: &self.version.name,
            version: &self.version.number,
            kind: self.kind,
            channel_id: self.channel_id,
            act: Act::State { key },
            rule,
            detail,
        });
    }
}

impl Host for CallData {
    fn get(&mut self, key: String) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.state()?.get(&key).cloned())
    }

    fn set(&mut self, key: String, value: Vec<u8>) -> Result<(), Error> {
        // A call that leaks it fails, and its writes are dropped.
        self.honeytoken.inspect("its state", key.as_bytes());
        self.honeytoken.inspect("its state", &value);
        let shown = text::line(&key, limits::STATE_KEY_BYTES);
        let set = self
            .state()
            .and_then(|state| state.set(key, value).map_err(Error::Quota));
        if let Err(error) = &set {
            self.refused_state(&shown, error);
        }
        set
    }

    fn delete(&mut self, key: String) -> Result<(), Error> {
        self.state()?.delete(key);
        Ok(())
    }

    fn keys(&mut self, prefix: String) -> Result<Vec<String>, Error> {
        let keys = self.state()?.keys();
        Ok(keys.filter(|key| key.starts_with(&prefix)).cloned().collect())
    }
}
