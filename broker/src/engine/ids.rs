//! What request ids stand for: requests that wait or run, and answers kept for those
//! who ask again.
//!
//! Answers are many and mostly never asked for, so what finds them is small: a table of
//! their places alone, which stays in the processor's caches. The ids stand with the
//! requests, and with the answers, in the order in which these were given. An id has one
//! entry from the beginning of its request to the end of the memory of its answer.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use majordomo_protocol::RequestId;

use super::Payload;
use super::answers::Outcome;
use super::request::RequestKey;
use super::rights::Identity;
use super::shrink::{Shrink, room_to_keep};

/// What a client calls its request, and whose client it is: nobody can join, repeat or
/// cancel what another asked.
pub(super) type AskedId = (Identity, RequestId);

/// Answers are forgotten at least so much too late, at rest.
const LATE_MIN: Duration = Duration::from_secs(1);

/// Knows what requests are called.
pub(super) trait Asked {
    /// `None` where its client does not call it anything.
    fn id(&self, key: RequestKey) -> Option<AskedId>;
}

/// What is known of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Its request waits or runs, for its client or abandoned.
    UnderWay(RequestKey),
    /// Its request has ended; its answer is kept.
    Answered(AnswerNumber),
}

/// Answers are numbered in the order in which they were given, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AnswerNumber(NonZeroU64);

impl AnswerNumber {
    /// What tells it from all others that are kept.
    fn low(self) -> u32 {
        self.0.get() as u32
    }
}

/// An answer that may be asked for again.
#[derive(Debug)]
struct Kept<B> {
    id: AskedId,
    at: Instant,
    /// `None` when no answer was wanted, or it cannot be repeated.
    outcome: Option<Outcome<B>>,
    bytes: usize,
}

/// What finds an id's request or answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    UnderWay(RequestKey),
    /// The low half of its number.
    Answered(u32),
}

/// All ids that mean something.
#[derive(Debug)]
pub(super) struct Ids<B> {
    /// By the hashes of the ids.
    entries: HashTable<Entry>,
    /// Oldest first.
    kept: VecDeque<Kept<B>>,
    /// The number of the oldest that is kept, or of the next if none is.
    oldest: NonZeroU64,
    hash: RandomState,
    /// Bytes of all that is kept.
    bytes: usize,
}

impl<B> Default for Ids<B> {
    fn default() -> Self {
        Ids {
            entries: HashTable::new(),
            kept: VecDeque::new(),
            oldest: NonZeroU64::MIN,
            hash: RandomState::default(),
            bytes: 0,
        }
    }
}

impl<B: Payload> Ids<B> {
    /// About what an answer takes in memory, besides its own bytes.
    pub(super) const ANSWER_BYTES: usize = size_of::<Kept<B>>() + size_of::<Entry>();

    /// So many answers can be told apart.
    pub(super) const ANSWERS_MAX: usize = u32::MAX as usize;

    #[inline]
    pub(super) fn get(&self, id: &AskedId, asked: &impl Asked) -> Option<Known> {
        let is_it = |entry: &Entry| self.id_of(*entry, asked) == Some(*id);
        match *self.entries.find(self.hash.hash_one(id), is_it)? {
            Entry::UnderWay(key) => Some(Known::UnderWay(key)),
            Entry::Answered(low) => {
                let number = self.oldest.saturating_add(position(low, self.oldest) as u64);
                Some(Known::Answered(AnswerNumber(number)))
            }
        }
    }

    /// A request begins. Its id, if it has one, means nothing yet.
    #[inline]
    pub(super) fn begin(&mut self, key: RequestKey, asked: &impl Asked) {
        let Some(id) = asked.id(key) else { return };
        let Ids { entries, kept, oldest, hash, .. } = self;
        let hash_of = |entry: &Entry| hash_of(hash, id_of(*entry, kept, *oldest, asked));
        entries.insert_unique(hash.hash_one(id), Entry::UnderWay(key), hash_of);
    }

    /// A request ends that began. From now on its id stands for this answer, if it has one
    /// that is still kept.
    #[inline]
    pub(super) fn end(
        &mut self,
        key: RequestKey,
        answered: Option<AnswerNumber>,
        asked: &impl Asked,
    ) {
        let Some(id) = asked.id(key) else { return };
        let is_it = |entry: &Entry| *entry == Entry::UnderWay(key);
        match answered.filter(|number| number.0 >= self.oldest) {
            Some(number) => {
                if let Some(entry) = self.entries.find_mut(self.hash.hash_one(id), is_it) {
                    *entry = Entry::Answered(number.low());
                }
            }
            None => {
                if let Ok(entry) = self.entries.find_entry(self.hash.hash_one(id), is_it) {
                    entry.remove();
                }
                self.shrink_when_sparse(asked);
            }
        }
    }

    fn id_of(&self, entry: Entry, asked: &impl Asked) -> Option<AskedId> {
        id_of(entry, &self.kept, self.oldest, asked)
    }

    fn shrink_when_sparse(&mut self, asked: &impl Asked) {
        if let Some(room) = room_to_keep(self.entries.len(), self.entries.capacity()) {
            let Ids { entries, kept, oldest, hash, .. } = self;
            entries.shrink_to(room, |entry| hash_of(hash, id_of(*entry, kept, *oldest, asked)));
        }
    }

    /// Keeps an answer of so many bytes, behind all others.
    #[inline]
    pub(super) fn keep(
        &mut self,
        id: AskedId,
        at: Instant,
        outcome: Option<&Outcome<B>>,
        bytes: usize,
    ) -> AnswerNumber {
        self.bytes += bytes;
        self.kept.push_back(Kept { id, at, outcome: outcome.cloned(), bytes });
        if let Some(outcome) = self.kept.back_mut().and_then(|kept| kept.outcome.as_mut()) {
            outcome.detach();
        }
        AnswerNumber(self.oldest.saturating_add(self.kept.len() as u64 - 1))
    }

    /// An answer that is kept; `None` for one that cannot be repeated.
    pub(super) fn answer(&self, number: AnswerNumber) -> Option<&Outcome<B>> {
        let position = usize::try_from(number.0.get().checked_sub(self.oldest.get())?).ok()?;
        self.kept.get(position)?.outcome.as_ref()
    }

    /// How many answers are kept.
    pub(super) fn answers(&self) -> usize {
        self.kept.len()
    }

    /// Bytes of the answers that are kept.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets so many of the oldest answers. Many at once cost less each: what is known of
    /// an old id has left the processor's caches, and is fetched for several together.
    pub(super) fn forget_oldest(&mut self, count: usize, asked: &impl Asked) {
        for kept in self.kept.drain(..count.min(self.kept.len())) {
            let low = AnswerNumber(self.oldest).low();
            self.oldest = self.oldest.saturating_add(1);
            self.bytes -= kept.bytes;
            // A worker may still be at its request: then the id stands for that.
            let hash = self.hash.hash_one(kept.id);
            let is_it = |entry: &Entry| *entry == Entry::Answered(low);
            if let Ok(entry) = self.entries.find_entry(hash, is_it) {
                entry.remove();
            }
        }
        self.kept.shrink_when_sparse();
        self.shrink_when_sparse(asked);
    }

    /// When to forget what is older than `kept`, if nothing happens before. An
    /// eighth later than it could be, so that a broker at rest wakes up seldom.
    pub(super) fn look_at(&self, kept: Duration) -> Option<Instant> {
        let oldest = self.kept.front()?;
        Some(oldest.at + kept + (kept / 8).max(LATE_MIN))
    }

    /// Forgets the answers that are older than this.
    #[inline]
    pub(super) fn forget_before(&mut self, oldest_kept: Option<Instant>, asked: &impl Asked) {
        let Some(oldest_kept) = oldest_kept else { return };
        while self.kept.front().is_some_and(|oldest| oldest.at < oldest_kept) {
            self.forget_oldest(1, asked);
        }
    }

    /// For how many ids and answers it holds memory.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.entries.capacity().max(self.kept.capacity())
    }

    /// Asserts what must hold of it, given the requests that have ids and which of their
    /// answers are kept already.
    pub(super) fn check(
        &self,
        requests: impl Iterator<Item = (RequestKey, Option<AnswerNumber>)>,
        asked: &impl Asked,
    ) {
        let (mut under_way, mut abandoned) = (0, 0);
        for (key, answered) in requests {
            under_way += 1;
            abandoned += usize::from(answered.is_some_and(|number| number.0 >= self.oldest));
            let known = asked.id(key).and_then(|id| self.get(&id, asked));
            assert_eq!(known, Some(Known::UnderWay(key)));
        }
        assert_eq!(self.entries.len(), under_way + self.kept.len() - abandoned, "ids");
        assert_eq!(self.bytes, self.kept.iter().map(|kept| kept.bytes).sum::<usize>());
        let numbers = self.oldest.get()..;
        for (number, kept) in numbers.zip(&self.kept) {
            match self.get(&kept.id, asked) {
                Some(Known::Answered(known)) => assert_eq!(known.0.get(), number),
                known => assert!(known.is_some(), "an answer that nobody can ask for"),
            }
        }
    }
}

/// The id that has this entry.
fn id_of<B>(
    entry: Entry,
    kept: &VecDeque<Kept<B>>,
    oldest: NonZeroU64,
    asked: &impl Asked,
) -> Option<AskedId> {
    match entry {
        Entry::UnderWay(key) => asked.id(key),
        Entry::Answered(low) => Some(kept.get(position(low, oldest))?.id),
    }
}

/// Every entry has an id, so the hash of none is not used.
fn hash_of(hash: &RandomState, id: Option<AskedId>) -> u64 {
    id.map_or(0, |id| hash.hash_one(id))
}

/// Where the answer of this number stands among those that are kept.
fn position(low: u32, oldest: NonZeroU64) -> usize {
    low.wrapping_sub(AnswerNumber(oldest).low()) as usize
}

#[cfg(test)]
mod tests {
    use super::super::table::Table;
    use super::*;

    #[derive(Clone, Debug)]
    struct Text(&'static str);

    impl Payload for Text {
        fn size(&self) -> usize {
            self.0.len()
        }

        fn append(&mut self, _: Self) {}

        fn of_texts(_: &[&str]) -> Self {
            Text("")
        }
    }

    type Requests = Table<RequestKey, AskedId>;

    impl Asked for Requests {
        fn id(&self, key: RequestKey) -> Option<AskedId> {
            self.get(key).copied()
        }
    }

    fn asked_id(number: u32) -> AskedId {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        (Identity::OPEN, RequestId::new(bytes))
    }

    /// A request that begins.
    fn begin(ids: &mut Ids<Text>, requests: &mut Requests, number: u32) -> RequestKey {
        let key = requests.insert(asked_id(number));
        ids.begin(key, requests);
        key
    }

    fn end(
        ids: &mut Ids<Text>,
        requests: &mut Requests,
        key: RequestKey,
        answer: Option<AnswerNumber>,
    ) {
        ids.end(key, answer, requests);
        requests.free(key);
    }

    #[test]
    fn an_entry_is_a_word() {
        assert_eq!(size_of::<Entry>(), size_of::<u64>());
    }

    #[test]
    fn several_answers_are_forgotten_at_once_but_not_what_still_runs() {
        #[expect(clippy::disallowed_methods, reason = "an Instant cannot be made from a number")]
        let now = Instant::now();
        let (mut ids, mut requests) = (Ids::<Text>::default(), Requests::default());
        let mut abandoned = None;
        for number in 0..5 {
            let key = begin(&mut ids, &mut requests, number);
            let outcome = Outcome::Final(Text("1234"));
            let answer = Some(ids.keep(asked_id(number), now, Some(&outcome), 4));
            match number {
                // Its worker still runs it, for nobody.
                1 => abandoned = Some((key, answer)),
                _ => end(&mut ids, &mut requests, key, answer),
            }
        }
        ids.forget_oldest(3, &requests);
        assert_eq!((ids.answers(), ids.bytes()), (2, 8));
        let known = |ids: &Ids<Text>, requests: &Requests| {
            [0, 1, 2, 3, 4].map(|number| ids.get(&asked_id(number), requests).is_some())
        };
        assert_eq!(known(&ids, &requests), [false, true, false, true, true]);
        let (key, answer) = abandoned.expect("the second one");
        end(&mut ids, &mut requests, key, answer);
        assert_eq!(known(&ids, &requests), [false, false, false, true, true]);
        ids.forget_oldest(usize::MAX, &requests);
        assert_eq!((ids.answers(), ids.bytes(), ids.entries.len()), (0, 0, 0));
    }

    #[test]
    fn answers_are_told_apart_when_the_low_halves_of_their_numbers_begin_anew() {
        #[expect(clippy::disallowed_methods, reason = "an Instant cannot be made from a number")]
        let now = Instant::now();
        let oldest = NonZeroU64::new(u64::from(u32::MAX) - 5_000).expect("not 0");
        let (mut ids, mut requests) =
            (Ids::<Text> { oldest, ..Ids::default() }, Requests::default());
        // Through growing, and then shrinking.
        for (count, most) in [(0..9_000, 8_000), (9_000..10_000, 3)] {
            for number in count {
                let key = begin(&mut ids, &mut requests, number);
                let kept = ids.keep(asked_id(number), now, None, 0);
                end(&mut ids, &mut requests, key, Some(kept));
                ids.forget_oldest(ids.answers().saturating_sub(most), &requests);
            }
            ids.check(std::iter::empty(), &requests);
        }
        assert_eq!(ids.answers(), 3);
    }
}
