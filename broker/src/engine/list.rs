//! Doubly linked lists threaded through the items of a table, so that an item
//! can leave from anywhere in constant time: a worker that dies in the middle of
//! the idle list, a request that expires in the middle of a queue.
//!
//! An item is in at most one list at a time; the list it is in is known to its
//! owner.

use slotmap::Key;

use super::table::Table;

/// An item's neighbours; both `None` while it is in no list, or alone in one.
#[derive(Debug)]
pub(super) struct Links<K> {
    previous: Option<K>,
    next: Option<K>,
}

impl<K> Default for Links<K> {
    fn default() -> Self {
        Links { previous: None, next: None }
    }
}

/// An item that can be in a [`List`].
pub(super) trait Linked<K> {
    fn links(&mut self) -> &mut Links<K>;
}

/// The ends of a list of items that live in a table.
#[derive(Debug)]
pub(super) struct List<K> {
    front: Option<K>,
    back: Option<K>,
}

impl<K> Default for List<K> {
    fn default() -> Self {
        List { front: None, back: None }
    }
}

impl<K: Key> List<K> {
    pub(super) fn is_empty(&self) -> bool {
        self.front.is_none()
    }

    pub(super) fn front(&self) -> Option<K> {
        self.front
    }

    pub(super) fn push_back<T: Linked<K>>(&mut self, items: &mut Table<K, T>, key: K) {
        *items[key].links() = Links { previous: self.back, next: None };
        match self.back {
            Some(back) => items[back].links().next = Some(key),
            None => self.front = Some(key),
        }
        self.back = Some(key);
    }

    pub(super) fn pop_front<T: Linked<K>>(&mut self, items: &mut Table<K, T>) -> Option<K> {
        let front = self.front?;
        self.remove(items, front);
        Some(front)
    }

    /// Takes out `key`, which must be in this list.
    pub(super) fn remove<T: Linked<K>>(&mut self, items: &mut Table<K, T>, key: K) {
        let Links { previous, next } = std::mem::take(items[key].links());
        match previous {
            Some(previous) => items[previous].links().next = next,
            None => self.front = next,
        }
        match next {
            Some(next) => items[next].links().previous = previous,
            None => self.back = previous,
        }
    }

    /// The keys from front to back.
    pub(super) fn keys<T: Linked<K>>(&self, items: &mut Table<K, T>) -> Vec<K> {
        let mut keys = Vec::new();
        let mut at = self.front;
        while let Some(key) = at {
            keys.push(key);
            at = items[key].links().next;
        }
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slotmap::DefaultKey;

    struct Item(Links<DefaultKey>);

    impl Linked<DefaultKey> for Item {
        fn links(&mut self) -> &mut Links<DefaultKey> {
            &mut self.0
        }
    }

    #[test]
    fn items_leave_from_anywhere_and_the_order_of_the_others_stays() {
        let mut items = Table::default();
        let mut list = List::default();
        let keys: Vec<_> = (0..5).map(|_| items.insert(Item(Links::default()))).collect();
        for key in &keys {
            list.push_back(&mut items, *key);
        }
        for gone in [2, 0, 4] {
            list.remove(&mut items, keys[gone]);
        }
        assert_eq!(list.keys(&mut items), [keys[1], keys[3]]);
        list.push_back(&mut items, keys[2]);
        assert_eq!(list.pop_front(&mut items), Some(keys[1]));
        assert_eq!(list.pop_front(&mut items), Some(keys[3]));
        assert_eq!(list.pop_front(&mut items), Some(keys[2]));
        assert_eq!(list.pop_front(&mut items), None);
        assert!(list.is_empty());
    }
}
