//! How much may be outstanding at once: a place for each call, and room for its bytes.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::call_error::CallError;

/// Places and bytes. A call takes of both before it is handed over, and gives them back
/// when it has ended, so the channel between never holds more calls than places. Who
/// waits longer goes first, so that small calls do not keep a large one out.
pub(crate) struct Places {
    calls_max: usize,
    bytes_max: usize,
    taken: Mutex<Taken>,
    freed: Condvar,
}

#[derive(Default)]
struct Taken {
    calls: usize,
    bytes: usize,
    /// Those that wait: their numbers and bytes.
    waiting: VecDeque<(u64, usize)>,
    numbers: u64,
}

/// The place of one call, or of several; free again when dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    calls: usize,
    bytes: usize,
}

impl Places {
    pub(crate) fn new(calls_max: usize, bytes_max: usize) -> Self {
        Places { calls_max, bytes_max, taken: Mutex::default(), freed: Condvar::new() }
    }

    /// Takes a place for a call of so many bytes; waits for one at most so long. A call
    /// larger than all the room there is takes all of it.
    pub(crate) fn take(
        places: &Arc<Self>,
        bytes: usize,
        wait: Duration,
    ) -> Result<Place, CallError> {
        let bytes = bytes.min(places.bytes_max);
        let mut taken = places.lock();
        if taken.waiting.is_empty() && places.lacks(&taken, bytes).is_none() {
            return Ok(places.taken_by(&mut taken, bytes));
        }
        let number = taken.numbers;
        taken.numbers += 1;
        taken.waiting.push_back((number, bytes));
        let must_wait = |taken: &mut Taken| {
            taken.waiting.front() != Some(&(number, bytes)) || places.lacks(taken, bytes).is_some()
        };
        let waited = places.freed.wait_timeout_while(taken, wait, must_wait);
        let (mut taken, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let refused = must_wait(&mut taken);
        let first = taken.waiting.front().map_or(bytes, |(_, bytes)| *bytes);
        taken.waiting.retain(|(waiting, _)| *waiting != number);
        if !taken.waiting.is_empty() {
            // Another may be the first now.
            places.freed.notify_all();
        }
        if refused {
            let (setting, limit) =
                places.lacks(&taken, first).unwrap_or(("outstanding_max", places.calls_max));
            return Err(CallError::Full { setting, limit });
        }
        Ok(places.taken_by(&mut taken, bytes))
    }

    fn taken_by(self: &Arc<Self>, taken: &mut Taken, bytes: usize) -> Place {
        taken.calls += 1;
        taken.bytes += bytes;
        Place { places: self.clone(), calls: 1, bytes }
    }

    /// The limit that a call of so many bytes would pass.
    fn lacks(&self, taken: &Taken, bytes: usize) -> Option<(&'static str, usize)> {
        if taken.calls >= self.calls_max {
            Some(("outstanding_max", self.calls_max))
        } else if taken.bytes + bytes > self.bytes_max {
            Some(("outstanding_bytes_max", self.bytes_max))
        } else {
            None
        }
    }

    pub(crate) fn taken(&self) -> usize {
        self.lock().calls
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Drops places of one client together.
    pub(crate) fn free_all(mut places: impl Iterator<Item = Place>) {
        let Some(mut all) = places.next() else { return };
        for mut place in places {
            all.calls += std::mem::take(&mut place.calls);
            all.bytes += std::mem::take(&mut place.bytes);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.calls == 0 {
            return;
        }
        let mut taken = self.places.lock();
        taken.calls -= self.calls;
        taken.bytes -= self.bytes;
        if !taken.waiting.is_empty() {
            self.places.freed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Longer than anything takes.
    const LONG: Duration = Duration::from_secs(60);

    fn full(places: &Arc<Places>, bytes: usize) -> &'static str {
        match Places::take(places, bytes, Duration::ZERO) {
            Err(CallError::Full { setting, .. }) => setting,
            _ => "not full",
        }
    }

    #[test]
    fn calls_and_bytes_are_bounded_and_what_is_too_large_takes_all() {
        let places = Arc::new(Places::new(2, 10));
        let first = Places::take(&places, 6, Duration::ZERO).expect("room");
        assert_eq!(full(&places, 5), "outstanding_bytes_max");
        let second = Places::take(&places, 4, Duration::ZERO).expect("room");
        assert_eq!(full(&places, 0), "outstanding_max");
        drop(first);
        assert_eq!(full(&places, 7), "outstanding_bytes_max");
        drop(second);
        let large = Places::take(&places, usize::MAX, Duration::ZERO).expect("alone");
        assert_eq!(full(&places, 1), "outstanding_bytes_max");
        drop(large);
        assert_eq!(places.taken(), 0);
        let two = [4, 6].map(|bytes| Places::take(&places, bytes, Duration::ZERO).expect("room"));
        Place::free_all(two.into_iter());
        assert_eq!(places.taken(), 0);
        assert_eq!(full(&places, 10), "not full");
    }

    #[test]
    fn who_waits_longer_goes_first_even_if_it_is_larger() {
        let places = Arc::new(Places::new(100, 10));
        let held = Places::take(&places, 5, Duration::ZERO).expect("room");
        std::thread::scope(|scope| {
            let large = scope.spawn(|| Places::take(&places, 10, LONG).map(drop));
            while places.lock().waiting.is_empty() {
                std::thread::yield_now();
            }
            // There is room for it, but it is not its turn.
            assert!(Places::take(&places, 1, Duration::ZERO).is_err());
            let small = scope.spawn(|| Places::take(&places, 1, LONG).map(drop));
            while places.lock().waiting.len() < 2 {
                std::thread::yield_now();
            }
            drop(held);
            large.join().expect("no panic").expect("room in time");
            small.join().expect("no panic").expect("room in time");
        });
        assert_eq!(places.taken(), 0);
    }
}
