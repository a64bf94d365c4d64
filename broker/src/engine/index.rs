//! What finds the items of a table by what they are called.
//!
//! It holds their keys alone; the names stand with the items, which are looked at in any
//! case. So it is small, and stays in the processor's caches where there are thousands.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use slotmap::Key;

use super::shrink::room_to_keep;
use super::table::Table;

/// An item that is called something, by which it is found. That never changes.
pub(super) trait Named {
    type Name: Eq + Hash;

    fn name(&self) -> &Self::Name;
}

/// The keys of all items of a table, each of another name.
#[derive(Debug)]
pub(super) struct Index<K> {
    keys: HashTable<K>,
    hash: RandomState,
}

impl<K> Default for Index<K> {
    fn default() -> Self {
        Index { keys: HashTable::new(), hash: RandomState::default() }
    }
}

impl<K: Key> Index<K> {
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The key of the item of this name.
    #[inline]
    pub(super) fn find<T: Named>(&self, name: &T::Name, items: &Table<K, T>) -> Option<K> {
        let is_it = |key: &K| items.get(*key).is_some_and(|item| item.name() == name);
        self.keys.find(self.hash.hash_one(name), is_it).copied()
    }

    /// Enters an item that is in the table, and whose name no other has.
    pub(super) fn insert<T: Named>(&mut self, key: K, items: &Table<K, T>) {
        let Index { keys, hash } = self;
        let hash_of = |key: &K| hash.hash_one(items[*key].name());
        keys.insert_unique(hash_of(&key), key, hash_of);
    }

    /// Forgets an item that was taken out of the table.
    pub(super) fn remove<T: Named>(&mut self, key: K, item: &T, items: &Table<K, T>) {
        let Index { keys, hash } = self;
        if let Ok(entry) = keys.find_entry(hash.hash_one(item.name()), |entry| *entry == key) {
            entry.remove();
        }
        if let Some(room) = room_to_keep(keys.len(), keys.capacity()) {
            keys.shrink_to(room, |key| hash.hash_one(items[*key].name()));
        }
    }

    /// For how many keys it holds memory.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.keys.capacity()
    }
}

#[cfg(test)]
mod tests {
    use slotmap::DefaultKey;

    use super::*;

    impl Named for u32 {
        type Name = u32;

        fn name(&self) -> &u32 {
            self
        }
    }

    #[test]
    fn items_are_found_by_their_names_through_growing_and_shrinking() {
        let (mut items, mut index) = (Table::<DefaultKey, u32>::default(), Index::default());
        let mut keys = Vec::new();
        for name in 0..10_000 {
            let key = items.insert(name);
            index.insert(key, &items);
            keys.push(key);
        }
        assert_eq!(index.len(), 10_000);
        for name in 10..10_000_u32 {
            let key = keys[name as usize];
            assert_eq!(index.find(&name, &items), Some(key));
            let item = items.remove(key).expect("it is there");
            index.remove(key, &item, &items);
            assert_eq!(index.find(&name, &items), None);
        }
        assert!((0..10).all(|name| index.find(&name, &items) == Some(keys[name as usize])));
        assert!(index.len() == 10 && index.capacity() < 5_000);
    }
}
