//! What request ids stand for: requests that wait or run, and answers kept for those
//! who ask again.
//!
//! Answers are many and mostly never asked for, so what finds them is small: a table of
//! their places alone, which stays in the processor's caches. The ids stand with the
//! answers, in the order in which they were given.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use foldhash::HashMap;
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

/// All ids that mean something.
#[derive(Debug)]
pub(super) struct Ids<B> {
    under_way: HashMap<AskedId, RequestKey>,
    /// Oldest first.
    kept: VecDeque<Kept<B>>,
    /// The number of the oldest that is kept, or of the next if none is.
    oldest: NonZeroU64,
    /// The numbers of the answers that ids stand for, by the hashes of the ids.
    answered: HashTable<u32>,
    hash: RandomState,
    /// Bytes of all that is kept.
    bytes: usize,
}

impl<B> Default for Ids<B> {
    fn default() -> Self {
        Ids {
            under_way: HashMap::default(),
            kept: VecDeque::new(),
            oldest: NonZeroU64::MIN,
            answered: HashTable::new(),
            hash: RandomState::default(),
            bytes: 0,
        }
    }
}

impl<B: Payload> Ids<B> {
    /// About what an answer takes in memory, besides its own bytes.
    pub(super) const ANSWER_BYTES: usize = size_of::<Kept<B>>() + 2 * size_of::<u32>();

    /// So many answers can be told apart.
    pub(super) const ANSWERS_MAX: usize = u32::MAX as usize;

    pub(super) fn get(&self, id: &AskedId) -> Option<Known> {
        if let Some(key) = self.under_way.get(id) {
            return Some(Known::UnderWay(*key));
        }
        let found = self.answered.find(self.hash.hash_one(id), |low| {
            self.kept.get(position(*low, self.oldest)).is_some_and(|kept| kept.id == *id)
        });
        let number = |low: &u32| self.oldest.saturating_add(position(*low, self.oldest) as u64);
        found.map(|low| Known::Answered(AnswerNumber(number(low))))
    }

    /// A request begins that is called by this id.
    pub(super) fn begin(&mut self, id: AskedId, key: RequestKey) {
        self.under_way.insert(id, key);
    }

    /// The request of this id is gone. From now on the id stands for this answer, if it
    /// has one that is still kept.
    pub(super) fn end(&mut self, id: AskedId, answered: Option<AnswerNumber>) {
        self.under_way.remove(&id);
        self.under_way.shrink_when_sparse();
        if let Some(number) = answered.filter(|number| number.0 >= self.oldest) {
            let Ids { kept, hash, oldest, .. } = self;
            let hash_of = |low: &u32| hash.hash_one(kept[position(*low, *oldest)].id);
            self.answered.insert_unique(hash.hash_one(id), number.low(), hash_of);
        }
    }

    /// Keeps an answer, behind all others.
    pub(super) fn keep(
        &mut self,
        id: AskedId,
        at: Instant,
        outcome: Option<Outcome<B>>,
    ) -> AnswerNumber {
        let bytes = outcome.as_ref().map_or(0, Outcome::bytes);
        self.bytes += bytes;
        self.kept.push_back(Kept { id, at, outcome, bytes });
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
    pub(super) fn forget_oldest(&mut self, count: usize) {
        for kept in self.kept.drain(..count.min(self.kept.len())) {
            let low = AnswerNumber(self.oldest).low();
            self.oldest = self.oldest.saturating_add(1);
            self.bytes -= kept.bytes;
            // A worker may still be at its request: then the id stands for that.
            let hash = self.hash.hash_one(kept.id);
            if let Ok(known) = self.answered.find_entry(hash, |known| *known == low) {
                known.remove();
            }
        }
        if let Some(room) = room_to_keep(self.answered.len(), self.answered.capacity()) {
            let Ids { kept, hash, oldest, .. } = self;
            self.answered.shrink_to(room, |low| hash.hash_one(kept[position(*low, *oldest)].id));
        }
        self.kept.shrink_when_sparse();
    }

    /// When to forget what is older than `kept`, if no request makes it be done before. An
    /// eighth later than it could be, so that a broker at rest wakes up seldom.
    pub(super) fn look_at(&self, kept: Duration) -> Option<Instant> {
        let oldest = self.kept.front()?;
        Some(oldest.at + kept + (kept / 8).max(LATE_MIN))
    }

    /// Forgets the answers that are older than this.
    pub(super) fn forget_before(&mut self, oldest_kept: Option<Instant>) {
        let Some(oldest_kept) = oldest_kept else { return };
        while self.kept.front().is_some_and(|oldest| oldest.at < oldest_kept) {
            self.forget_oldest(1);
        }
    }

    /// For how many ids and answers it holds memory.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        let ids = self.under_way.capacity().max(self.answered.capacity());
        ids.max(self.kept.capacity())
    }

    /// Asserts what must hold of it, given the requests that have ids and how many of
    /// their answers are kept already.
    pub(super) fn check(
        &self,
        requests: impl Iterator<Item = (AskedId, RequestKey, Option<AnswerNumber>)>,
    ) {
        let (mut under_way, mut abandoned) = (0, 0);
        for (id, key, answered) in requests {
            under_way += 1;
            abandoned += usize::from(answered.is_some_and(|number| number.0 >= self.oldest));
            assert_eq!(self.get(&id), Some(Known::UnderWay(key)));
        }
        assert_eq!(self.under_way.len(), under_way, "ids of requests");
        assert_eq!(self.answered.len(), self.kept.len() - abandoned, "ids of answers");
        assert_eq!(self.bytes, self.kept.iter().map(|kept| kept.bytes).sum::<usize>());
        let numbers = self.oldest.get()..;
        for (number, kept) in numbers.zip(&self.kept) {
            match self.get(&kept.id) {
                Some(Known::Answered(known)) => assert_eq!(known.0.get(), number),
                known => assert!(known.is_some(), "an answer that nobody can ask for"),
            }
        }
    }
}

/// Where the answer of this number stands among those that are kept.
fn position(low: u32, oldest: NonZeroU64) -> usize {
    low.wrapping_sub(AnswerNumber(oldest).low()) as usize
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn several_answers_are_forgotten_at_once_but_not_what_runs_again() {
        #[expect(clippy::disallowed_methods, reason = "an Instant cannot be made from a number")]
        let now = Instant::now();
        let id = |number| (Identity::OPEN, RequestId::new([number; 16]));
        let mut ids = Ids::<Text>::default();
        for number in 0..5 {
            ids.begin(id(number), RequestKey::default());
            let kept = ids.keep(id(number), now, Some(Outcome::Final(Text("1234"))));
            ids.end(id(number), Some(kept));
        }
        // Its worker still runs it, for nobody.
        ids.begin(id(1), RequestKey::default());
        ids.forget_oldest(3);
        assert_eq!((ids.answers(), ids.bytes()), (2, 8));
        let known = [0, 1, 2, 3, 4].map(|number| ids.get(&id(number)).is_some());
        assert_eq!(known, [false, true, false, true, true]);
        ids.forget_oldest(usize::MAX);
        assert_eq!((ids.answers(), ids.bytes(), ids.answered.len()), (0, 0, 0));
    }

    #[test]
    fn answers_are_told_apart_when_the_low_halves_of_their_numbers_begin_anew() {
        #[expect(clippy::disallowed_methods, reason = "an Instant cannot be made from a number")]
        let now = Instant::now();
        let id = |number: u32| {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&number.to_be_bytes());
            (Identity::OPEN, RequestId::new(bytes))
        };
        let oldest = NonZeroU64::new(u64::from(u32::MAX) - 5_000).expect("not 0");
        let mut ids = Ids::<Text> { oldest, ..Ids::default() };
        // Through growing, and then shrinking.
        for (count, most) in [(0..9_000, 8_000), (9_000..10_000, 3)] {
            for number in count {
                ids.begin(id(number), RequestKey::default());
                let kept = ids.keep(id(number), now, None);
                ids.end(id(number), Some(kept));
                ids.forget_oldest(ids.answers().saturating_sub(most));
            }
            ids.check(std::iter::empty());
        }
        assert_eq!(ids.answers(), 3);
    }
}
