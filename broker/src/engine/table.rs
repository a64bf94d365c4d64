//! Items found by key, in memory that is given back when few of them are left.
//!
//! As a slot map, but in pages: a page whose items are all gone can be freed, whatever
//! the others hold. A key fits no second item, even in a page that was freed in between:
//! keys count on through the whole table, not through each place.

use std::marker::PhantomData;

use slotmap::{Key, KeyData};

/// Items in a page: the bits of a word.
const PAGE: usize = u64::BITS as usize;

/// So many empty pages are kept in any case: a table that is filled and emptied all the
/// time allocates nothing.
const EMPTY_KEPT: usize = 16;

/// Items of type `T`, each found by its key.
#[derive(Debug)]
pub(super) struct Table<K, T> {
    pages: Vec<Page<T>>,
    /// The pages with a free place, each once. The last one is filled first, so that few
    /// pages are in use.
    room: Vec<u32>,
    len: usize,
    /// Pages that hold memory.
    held: usize,
    /// Pages that hold memory and no item.
    empty: usize,
    /// Of the newest item; odd, as the version of a key is.
    generation: u32,
    keys: PhantomData<K>,
}

#[derive(Debug)]
struct Page<T> {
    /// Which places are taken.
    taken: u64,
    /// `None` while it holds no memory.
    places: Option<Box<[Place<T>; PAGE]>>,
}

#[derive(Debug)]
struct Place<T> {
    /// Of the item that is or was here.
    generation: u32,
    item: Option<T>,
}

impl<K, T> Default for Table<K, T> {
    fn default() -> Self {
        Table {
            pages: Vec::new(),
            room: Vec::new(),
            len: 0,
            held: 0,
            empty: 0,
            generation: 1,
            keys: PhantomData,
        }
    }
}

impl<K: Key, T> Table<K, T> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts an item in, and gives the key by which it is found from now on.
    pub(super) fn insert(&mut self, item: T) -> K {
        let number = match self.room.last() {
            Some(number) => *number,
            None => self.add_page(),
        };
        let page = &mut self.pages[number as usize];
        match &page.places {
            None => self.held += 1,
            Some(_) if page.taken == 0 => self.empty -= 1,
            Some(_) => {}
        }
        let position = page.taken.trailing_ones();
        page.taken |= 1 << position;
        if page.taken == u64::MAX {
            self.room.pop();
        }
        self.len += 1;
        self.generation = self.generation.wrapping_add(2);
        let places = page.places.get_or_insert_with(|| {
            Box::new(std::array::from_fn(|_| Place { generation: 0, item: None }))
        });
        let place = &mut places[position as usize];
        *place = Place { generation: self.generation, item: Some(item) };
        key(number as usize, position as usize, self.generation)
    }

    /// Takes an item out, if it is there.
    pub(super) fn remove(&mut self, key: K) -> Option<T> {
        let item = self.place(key)?.take();
        self.vacate(key);
        item
    }

    /// Drops an item where it is, if it is there: it may be large to move.
    pub(super) fn free(&mut self, key: K) {
        if let Some(item) = self.place(key) {
            *item = None;
            self.vacate(key);
        }
    }

    /// The place of an item that is there.
    #[inline]
    fn place(&mut self, key: K) -> Option<&mut Option<T>> {
        let (number, position, generation) = parts(key);
        let place = &mut self.pages.get_mut(number)?.places.as_mut()?[position];
        (place.generation == generation && place.item.is_some()).then_some(&mut place.item)
    }

    /// The place of this key is empty now.
    fn vacate(&mut self, key: K) {
        let (number, position, _) = parts(key);
        let page = &mut self.pages[number];
        if page.taken == u64::MAX {
            self.room.push(number as u32);
        }
        page.taken &= !(1 << position);
        self.len -= 1;
        if page.taken == 0 {
            self.empty += 1;
            if self.empty > EMPTY_KEPT + (self.held - self.empty) {
                self.free_pages();
            }
        }
    }

    #[inline]
    pub(super) fn get(&self, key: K) -> Option<&T> {
        let (number, position, generation) = parts(key);
        let place = &self.pages.get(number)?.places.as_ref()?[position];
        place.item.as_ref().filter(|_| place.generation == generation)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, key: K) -> Option<&mut T> {
        self.place(key)?.as_mut()
    }

    pub(super) fn contains_key(&self, key: K) -> bool {
        self.get(key).is_some()
    }

    /// All items, in no order that means anything, but always the same for the same
    /// history.
    pub(super) fn iter(&self) -> impl Iterator<Item = (K, &T)> {
        self.pages.iter().enumerate().flat_map(|(number, page)| {
            page.places.iter().flat_map(|places| places.iter()).enumerate().filter_map(
                move |(position, place)| {
                    Some((key(number, position, place.generation), place.item.as_ref()?))
                },
            )
        })
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = K> {
        self.iter().map(|(key, _)| key)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.iter().map(|(_, item)| item)
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let pages = self.pages.iter_mut().flat_map(|page| page.places.iter_mut());
        pages.flat_map(|places| places.iter_mut()).filter_map(|place| place.item.as_mut())
    }

    /// For how many items it holds memory.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.held * PAGE
    }

    /// A further page, the only one with a free place.
    fn add_page(&mut self) -> u32 {
        let number = self.pages.len() as u32;
        self.pages.push(Page { taken: 0, places: None });
        self.room.push(number);
        number
    }

    /// Frees half of the empty pages or more. It looks at all pages; but as many as a
    /// quarter of them became empty since it did so last.
    fn free_pages(&mut self) {
        let keep = (EMPTY_KEPT + self.held - self.empty) / 2;
        let mut kept = 0;
        for page in self.pages.iter_mut().filter(|page| page.taken == 0) {
            if kept < keep && page.places.is_some() {
                kept += 1;
            } else {
                page.places = None;
            }
        }
        self.held -= self.empty - kept;
        self.empty = kept;
        let last = self.pages.iter().rposition(|page| page.places.is_some());
        self.pages.truncate(last.map_or(0, |last| last + 1));
        self.pages.shrink_to_fit();
        self.room.retain(|number| (*number as usize) < self.pages.len());
        self.room.shrink_to_fit();
        // Filled first: pages with items, then empty ones, then those without memory.
        let pages = &self.pages;
        self.room.sort_unstable_by_key(|number| {
            let page = &pages[*number as usize];
            (page.taken != 0, page.places.is_some(), std::cmp::Reverse(*number))
        });
    }
}

impl<K: Key, T> std::ops::Index<K> for Table<K, T> {
    type Output = T;

    /// # Panics
    ///
    /// When the item is gone.
    #[inline]
    fn index(&self, key: K) -> &T {
        self.get(key).expect("the key of an item that is there")
    }
}

impl<K: Key, T> std::ops::IndexMut<K> for Table<K, T> {
    /// # Panics
    ///
    /// When the item is gone.
    #[inline]
    fn index_mut(&mut self, key: K) -> &mut T {
        self.get_mut(key).expect("the key of an item that is there")
    }
}

fn key<K: Key>(number: usize, position: usize, generation: u32) -> K {
    let place = (number * PAGE + position) as u64;
    K::from(KeyData::from_ffi(u64::from(generation) << 32 | place))
}

/// Page, position in it, and generation.
#[inline]
fn parts<K: Key>(key: K) -> (usize, usize, u32) {
    let key = key.data().as_ffi();
    let place = (key & u64::from(u32::MAX)) as usize;
    (place / PAGE, place % PAGE, (key >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use slotmap::DefaultKey;

    use super::*;

    /// Numbers that look random, the same each time.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, end: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (self.0 >> 33) as usize % end
        }
    }

    #[test]
    fn items_are_found_by_their_keys_alone_through_growing_and_shrinking() {
        let mut table = Table::<DefaultKey, usize>::default();
        let mut there: Vec<(DefaultKey, usize)> = Vec::new();
        let mut gone = Vec::new();
        let mut numbers = Numbers(1);
        for (round, size) in [5_000, 3, 9_000, 0, 1, 6_000, 64, 65].into_iter().enumerate() {
            while there.len() != size {
                // Two steps forth, one back.
                let grows = (numbers.below(3) > 0) == (there.len() < size);
                if grows {
                    let item = numbers.below(usize::MAX);
                    there.push((table.insert(item), item));
                } else if !there.is_empty() {
                    let (key, item) = there.swap_remove(numbers.below(there.len()));
                    assert_eq!(table.remove(key), Some(item));
                    assert_eq!(table.remove(key), None);
                    gone.push(key);
                }
            }
            assert_eq!((table.len(), table.is_empty()), (size, size == 0), "round {round}");
            assert!(there.iter().all(|(key, item)| table.get(*key) == Some(item)));
            assert!(!gone.iter().any(|key| table.contains_key(*key)));
            let all: HashSet<_> = table.iter().map(|(key, item)| (key, *item)).collect();
            assert_eq!(all, there.iter().copied().collect());
        }
        let ever: HashSet<_> = gone.iter().chain(there.iter().map(|(key, _)| key)).collect();
        assert_eq!(ever.len(), gone.len() + there.len(), "a key was given twice");
        assert!(!table.contains_key(DefaultKey::default()));
    }

    #[test]
    fn memory_goes_when_items_go_in_whatever_order() {
        const MANY: usize = 100_000;
        for order in ["oldest first", "newest first", "any"] {
            let mut table = Table::<DefaultKey, usize>::default();
            let mut keys: Vec<_> = (0..MANY).map(|item| table.insert(item)).collect();
            assert!(table.capacity() < MANY + PAGE);
            match order {
                "oldest first" => keys.reverse(),
                "any" => {
                    let mut numbers = Numbers(2);
                    (0..MANY).for_each(|at| keys.swap(at, numbers.below(MANY)));
                }
                _ => {}
            }
            let stay = keys.split_off(10);
            for key in stay {
                table.remove(key);
            }
            // Each that stays may hold a page.
            let most = 2 * 10 + EMPTY_KEPT;
            assert!(table.capacity() <= most * PAGE, "{order}: {}", table.capacity());
            assert!(keys.iter().all(|key| table.contains_key(*key)));
            let more: Vec<_> = (0..PAGE).map(|item| table.insert(item)).collect();
            assert!(more.iter().all(|key| table.contains_key(*key)));
            for key in keys.into_iter().chain(more) {
                table.remove(key);
            }
            assert!(table.capacity() <= EMPTY_KEPT * PAGE, "{order}: {}", table.capacity());
        }
    }

    #[test]
    fn few_items_that_come_and_go_need_no_new_memory() {
        let mut table = Table::<DefaultKey, usize>::default();
        for _ in 0..100 {
            let keys: Vec<_> = (0..EMPTY_KEPT * PAGE).map(|item| table.insert(item)).collect();
            for key in keys {
                table.remove(key);
            }
            assert_eq!(table.capacity(), EMPTY_KEPT * PAGE);
        }
    }
}
