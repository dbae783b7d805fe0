//! A channel's state during one call: reads see the writes of the same call, and a quota bounds what it holds.

use std::collections::BTreeSet;

use weir_domain::limits;

use crate::context::{State, StateWrites};

/// A channel's state during one call.
pub(crate) struct StateView {
    /// The keys before the call.
    before: BTreeSet<String>,
    entries: State,
    writes: StateWrites,
    bytes: usize,
}

impl StateView {
    pub(crate) fn new(entries: State) -> Self {
        let bytes = entries.iter().map(|(key, value)| key.len() + value.len()).sum();
        Self {
            before: entries.keys().cloned().collect(),
            entries,
            writes: StateWrites::default(),
            bytes,
        }
    }

    /// All entries.
    pub(crate) fn entries(&self) -> State {
        self.entries.clone()
    }

    pub(crate) fn into_writes(self) -> StateWrites {
        self.writes
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Vec<u8>> {
        self.entries.get(key)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &String> {
        self.entries.keys()
    }

    /// # Errors
    /// Which bound of the quota it would exceed; nothing is changed then.
    pub(crate) fn set(&mut self, key: String, value: Vec<u8>) -> Result<(), String> {
        if key.is_empty() || key.len() > limits::STATE_KEY_BYTES {
            return Err(format!("a key has 1 to {} bytes", limits::STATE_KEY_BYTES));
        }
        if value.len() > limits::STATE_VALUE_BYTES {
            return Err(format!("a value has at most {} bytes", limits::STATE_VALUE_BYTES));
        }
        let before = self.entries.get(&key).map(|old| key.len() + old.len());
        if before.is_none() && self.entries.len() >= limits::STATE_KEYS {
            return Err(format!("a channel has at most {} keys", limits::STATE_KEYS));
        }
        let bytes = self.bytes - before.unwrap_or(0) + key.len() + value.len();
        if bytes > limits::STATE_BYTES {
            return Err(format!("a channel's state has at most {} bytes", limits::STATE_BYTES));
        }
        self.bytes = bytes;
        self.writes.0.insert(key.clone(), Some(value.clone()));
        self.entries.insert(key, value);
        Ok(())
    }

    pub(crate) fn delete(&mut self, key: String) {
        let Some(old) = self.entries.remove(&key) else { return };
        self.bytes -= key.len() + old.len();
        // A key that this call created and deleted is no write, so that writes are bounded by the number of keys.
        if self.before.contains(&key) {
            self.writes.0.insert(key, None);
        } else {
            self.writes.0.remove(&key);
        }
    }
}

/// `state` if it is within the quota: for what a migration returns.
pub(crate) fn check_quota(state: Vec<(String, Vec<u8>)>) -> Result<State, String> {
    let mut view = StateView::new(State::new());
    for (key, value) in state {
        view.set(key, value)?;
    }
    Ok(view.entries)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_value_takes_the_place_of_the_one_before_it_in_the_quota() {
        let mut view = StateView::new([("k".to_owned(), vec![1])].into());
        for _ in 0..100 {
            view.set("k".into(), vec![0; limits::STATE_VALUE_BYTES]).unwrap();
        }
        view.delete("k".into());
        assert_eq!(view.bytes, 0);
        assert_eq!(view.into_writes().0, [("k".to_owned(), None)].into());
    }

    #[test]
    fn what_a_call_makes_and_takes_back_leaves_no_trace() {
        let mut view = StateView::new(State::new());
        for i in 0..10_000 {
            view.set(i.to_string(), vec![1]).unwrap();
            view.delete(i.to_string());
        }
        assert_eq!(view.into_writes(), StateWrites::default());
    }

    #[test]
    fn the_quota_holds_to_the_last_byte_and_no_further() {
        let mut view = StateView::new(State::new());
        let whole = limits::STATE_BYTES / limits::STATE_VALUE_BYTES;
        for i in 0..whole {
            // The key's two bytes count too.
            view.set(format!("{i:02}"), vec![0; limits::STATE_VALUE_BYTES - 2])
                .unwrap();
        }
        assert_eq!(view.bytes, limits::STATE_BYTES);
        assert!(view.set("x".into(), Vec::new()).is_err());
        view.delete("00".into());
        view.set("x".into(), Vec::new()).unwrap();
    }

    #[test]
    fn keys_and_values_are_bounded_in_number_and_length() {
        let mut view = StateView::new(State::new());
        for i in 0..limits::STATE_KEYS {
            view.set(i.to_string(), Vec::new()).unwrap();
        }
        assert!(view.set("one more".into(), Vec::new()).is_err());
        assert!(view.set("0".into(), vec![0; limits::STATE_VALUE_BYTES + 1]).is_err());
        assert!(view.set("k".repeat(limits::STATE_KEY_BYTES + 1), Vec::new()).is_err());
        assert!(view.set(String::new(), Vec::new()).is_err());
    }
}
