//! Maps and queues that were large give their memory back.

use std::collections::VecDeque;
use std::hash::Hash;

use foldhash::HashMap;

/// Room for so many is kept in any case.
const KEPT: usize = 1_024;

/// A collection that keeps all memory it ever needed, unless told otherwise.
pub(crate) trait Shrink {
    /// After something was taken out: gives back most of the memory when less than an
    /// eighth is used. Twice of what is used stays, so what this costs is little for each
    /// of those that were taken out, and it does not have to grow at once.
    fn shrink_when_sparse(&mut self);
}

/// How much room to keep where most of the memory is to be given back.
pub(super) fn room_to_keep(len: usize, capacity: usize) -> Option<usize> {
    (capacity > 2 * KEPT && len < capacity / 8).then_some(KEPT.max(2 * len))
}

impl<K: Eq + Hash, V> Shrink for HashMap<K, V> {
    #[inline]
    fn shrink_when_sparse(&mut self) {
        if let Some(room) = room_to_keep(self.len(), self.capacity()) {
            self.shrink_to(room);
        }
    }
}

impl<T> Shrink for VecDeque<T> {
    #[inline]
    fn shrink_when_sparse(&mut self) {
        if let Some(room) = room_to_keep(self.len(), self.capacity()) {
            self.shrink_to(room);
        }
    }
}

#[cfg(test)]
mod tests {
    use foldhash::HashMapExt;

    use super::*;

    #[test]
    fn what_was_large_shrinks_now_and_then_on_its_way_down() {
        let mut map: HashMap<usize, usize> = (0..100_000).map(|n| (n, n)).collect();
        let mut queue: VecDeque<usize> = (0..100_000).collect();
        let (mut capacity, mut falls) = (map.capacity(), 0);
        for n in 0..100_000 {
            map.remove(&n);
            map.shrink_when_sparse();
            queue.pop_front();
            queue.shrink_when_sparse();
            assert_eq!((map.len(), queue.len()), (99_999 - n, 99_999 - n));
            assert_eq!(queue.front().copied(), (n < 99_999).then_some(n + 1));
            falls += usize::from(map.capacity() < capacity / 2);
            capacity = map.capacity();
        }
        assert!(map.capacity() <= 4 * KEPT && queue.capacity() <= 4 * KEPT);
        assert!((1..=6).contains(&falls), "{falls}");
    }

    #[test]
    fn what_is_small_is_left_alone() {
        let mut map: HashMap<usize, usize> = HashMap::with_capacity(KEPT);
        let before = map.capacity();
        map.shrink_when_sparse();
        assert_eq!(map.capacity(), before);
    }
}
