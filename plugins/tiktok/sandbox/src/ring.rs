//! A bounded log with consecutive numbers: readers request the entries after the last number that they read.

use std::collections::VecDeque;

use serde::Serialize;

use crate::limits;

/// One entry and its number, which starts at 1 and never repeats.
#[derive(Debug, Clone, Serialize)]
pub struct Numbered<T> {
    /// The running number.
    pub sequence: u64,
    /// The entry.
    #[serde(flatten)]
    pub entry: T,
}

/// The newest [`limits::LOG`] entries.
#[derive(Debug)]
pub struct Ring<T> {
    entries: VecDeque<Numbered<T>>,
    last: u64,
}

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            last: 0,
        }
    }
}

impl<T: Clone> Ring<T> {
    /// Adds an entry; the oldest is dropped when the log is full.
    pub fn push(&mut self, entry: T) -> u64 {
        if self.entries.len() == limits::LOG {
            self.entries.pop_front();
        }
        self.last += 1;
        self.entries.push_back(Numbered {
            sequence: self.last,
            entry,
        });
        self.last
    }

    /// The number of the newest entry, 0 when there was none.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Up to [`limits::LOG_PAGE`] entries after number `after`, oldest first.
    pub fn after(&self, after: u64) -> Vec<Numbered<T>> {
        let from = self.entries.partition_point(|numbered| numbered.sequence <= after);
        self.entries.range(from..).take(limits::LOG_PAGE).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_log_forgets_the_oldest_and_keeps_counting() {
        let mut ring = Ring::default();
        for number in 0..limits::LOG + 3 {
            ring.push(number);
        }
        let newest = ring.last();
        assert_eq!(newest, limits::LOG as u64 + 3);
        assert_eq!(ring.after(newest - 1).len(), 1);
        assert_eq!(ring.after(0)[0].sequence, 4);
    }
}
