//! Rows of one table that an act has loaded or created, and may change.

use std::collections::BTreeMap;

use crate::id::ChannelId;
use crate::record::Tracked;

/// Rows in insertion order, found by a key. The index of a row never changes.
#[derive(Debug)]
pub struct Rows<K, T> {
    rows: Vec<Tracked<T>>,
    places: BTreeMap<K, usize>,
}

impl<K, T> Default for Rows<K, T> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            places: BTreeMap::new(),
        }
    }
}

impl<K: Ord, T: Clone + PartialEq> Rows<K, T> {
    /// Adds a row; an existing one is kept unchanged. Returns its index.
    pub fn add(&mut self, key: K, row: Tracked<T>) -> usize {
        *self.places.entry(key).or_insert_with(|| {
            self.rows.push(row);
            self.rows.len() - 1
        })
    }

    pub fn place(&self, key: &K) -> Option<usize> {
        self.places.get(key).copied()
    }

    pub fn get(&self, key: &K) -> Option<&T> {
        Some(self.at(self.place(key)?))
    }

    pub fn at(&self, place: usize) -> &T {
        &self.rows[place]
    }

    pub fn edit(&mut self, place: usize) -> &mut T {
        self.rows[place].edit()
    }

    pub fn tracked(&mut self, place: usize) -> &mut Tracked<T> {
        &mut self.rows[place]
    }

    pub fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        self.rows.iter().enumerate().map(|(place, row)| (place, &**row))
    }

    pub fn into_rows(self) -> Vec<Tracked<T>> {
        self.rows
    }
}

/// Values by platform id within a channel.
#[derive(Clone, Debug)]
pub struct ByPlatformId<V>(BTreeMap<ChannelId, BTreeMap<String, V>>);

impl<V> Default for ByPlatformId<V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<V> ByPlatformId<V> {
    pub fn get(&self, channel: ChannelId, platform_id: &str) -> Option<&V> {
        self.0.get(&channel)?.get(platform_id)
    }

    pub fn insert(&mut self, channel: ChannelId, platform_id: String, value: V) {
        self.0.entry(channel).or_default().insert(platform_id, value);
    }

    pub fn remove(&mut self, channel: ChannelId, platform_id: &str) -> Option<V> {
        self.0.get_mut(&channel)?.remove(platform_id)
    }

    /// Adds the entry if it is missing.
    pub fn entry(&mut self, channel: ChannelId, platform_id: &str) -> &mut V
    where
        V: Default,
    {
        self.0
            .entry(channel)
            .or_default()
            .entry(platform_id.to_owned())
            .or_default()
    }

    pub fn iter(&self) -> impl Iterator<Item = (ChannelId, &str, &V)> {
        self.0.iter().flat_map(|(channel, of)| {
            of.iter()
                .map(|(platform_id, value)| (*channel, platform_id.as_str(), value))
        })
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
