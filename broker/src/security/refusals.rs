//! Whoever is refused again and again waits longer and longer for it, and fills no log.
//!
//! The refusal of an address is held back, each time twice as long, so that peers that try
//! again and again cost little. It keeps nobody from guessing: what is right is let in at
//! once. Others from the same address who show the right thing do not wait: an address may
//! be shared. Of the failures of an address for one reason the first is logged, the tenth,
//! the hundredth and so on. Time is passed in.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::roster::Refusal;

/// How many addresses are remembered. Further ones share one entry.
const ADDRESSES_MAX: usize = 10_000;
/// How long the second refusal is held back; the first is told at once.
const DELAY_FIRST: Duration = Duration::from_millis(100);
/// Longer than that none is held back: libzmq gives up a handshake after a time.
const DELAY_MAX: Duration = Duration::from_secs(5);
/// An address that was not refused for so long is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(300);

/// How often room is made, at most.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// Who was refused lately.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    addresses: HashMap<String, Record>,
    /// Those for whom there was no room.
    others: Record,
    /// When the forgotten were last taken out: that reads all of them.
    swept: Option<Instant>,
}

#[derive(Debug, Default)]
struct Record {
    latest: Option<Instant>,
    failures: u32,
    by_reason: [u64; 4],
}

/// What to do about a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// For how long it is not told.
    pub(super) delay: Duration,
    /// How often this address was refused for this reason, if that is to be logged.
    pub(super) logged: Option<u64>,
}

impl Refusals {
    /// Somebody at `address` is refused.
    pub(super) fn refuse(&mut self, address: &str, reason: Refusal, now: Instant) -> Verdict {
        let full = self.addresses.len() >= ADDRESSES_MAX;
        let swept = |at| now.saturating_duration_since(at) < SWEEP_INTERVAL;
        if full && !self.addresses.contains_key(address) && !self.swept.is_some_and(swept) {
            self.addresses.retain(|_, record| !record.is_over(now));
            self.swept = Some(now);
        }
        let room = self.addresses.len() < ADDRESSES_MAX;
        let record = match self.addresses.contains_key(address) || room {
            true => self.addresses.entry(address.to_owned()).or_default(),
            false => &mut self.others,
        };
        if record.is_over(now) {
            *record = Record::default();
        }
        record.latest = Some(now);
        let delay = match record.failures {
            0 => Duration::ZERO,
            failures => DELAY_FIRST.saturating_mul(1 << (failures - 1).min(16)).min(DELAY_MAX),
        };
        record.failures = record.failures.saturating_add(1);
        let count = &mut record.by_reason[reason as usize];
        *count += 1;
        Verdict { delay, logged: is_power_of_ten(*count).then_some(*count) }
    }
}

impl Record {
    fn is_over(&self, now: Instant) -> bool {
        self.latest.is_some_and(|at| now.saturating_duration_since(at) > FORGOTTEN_AFTER)
    }
}

fn is_power_of_ten(number: u64) -> bool {
    number > 0 && 10_u64.pow(number.ilog10()) == number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "an Instant cannot be made from a number")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn the_delay_of_an_address_grows_and_is_forgotten() {
        let (mut refusals, start) = (Refusals::default(), start());
        let mut delay = |address, at| refusals.refuse(address, Refusal::UnknownKey, at).delay;
        let ms = |ms| Duration::from_millis(ms);
        let delays: Vec<_> = (0..9).map(|_| delay("a", start)).collect();
        assert_eq!(delays, [0, 100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000].map(ms));
        assert_eq!(delay("b", start), ms(0));
        assert_eq!(delay("a", start + FORGOTTEN_AFTER), ms(5_000));
        assert_eq!(delay("a", start + 3 * FORGOTTEN_AFTER), ms(0));
    }

    #[test]
    fn the_first_failure_for_a_reason_is_logged_then_fewer_and_fewer() {
        let (mut refusals, now) = (Refusals::default(), start());
        let mut logged = |reason| refusals.refuse("a", reason, now).logged;
        let counts: Vec<_> = (0..1_000).filter_map(|_| logged(Refusal::UnknownKey)).collect();
        assert_eq!(counts, [1, 10, 100, 1_000]);
        assert_eq!(logged(Refusal::WrongPassword), Some(1));
    }

    #[test]
    fn more_addresses_than_there_is_room_for_share_an_entry() {
        let (mut refusals, start) = (Refusals::default(), start());
        for n in 0..ADDRESSES_MAX + 3 {
            refusals.refuse(&n.to_string(), Refusal::UnknownKey, start);
        }
        assert_eq!(refusals.addresses.len(), ADDRESSES_MAX);
        assert_eq!(refusals.others.failures, 3);
        // There is room again when the first ones are forgotten.
        refusals.refuse("new", Refusal::UnknownKey, start + 2 * FORGOTTEN_AFTER);
        assert_eq!(refusals.addresses.len(), 1);
    }
}
