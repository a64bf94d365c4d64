//! Who is who: a number for each key and each password that the rights name.
//!
//! Such a number, an identity, never stands for another key. So a connection that was made
//! with a key since removed is unknown, whatever the file says of its name, and known again
//! when that very key is back: whoever made it has shown that key.

use std::collections::HashMap;
use std::sync::Arc;

use super::password::same;
use super::rights_text::{Credential, Entry};
use super::zap::Proof;
use crate::engine::{Identity, Limits, Rights};

/// So many keys and passwords that were removed keep their numbers. Of more the oldest are
/// forgotten: what comes back of these gets a new number.
const REMOVED_MAX: usize = 10_000;

/// Who is who, and what each may do.
#[derive(Debug)]
pub struct Roster {
    limits: Limits,
    identities: HashMap<Credential, Identity>,
    /// Who was somebody once, and may be again.
    removed: HashMap<Credential, Identity>,
    /// The highest number given to an identity.
    numbers: u32,
    rights: Arc<Rights>,
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// No entry has this key.
    UnknownKey,
    /// No entry with a password has this name.
    UnknownUser,
    /// It is another password.
    WrongPassword,
    /// What libzmq asked makes no sense.
    Malformed,
}

impl Refusal {
    /// In words, for logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::UnknownKey => "its key is not in the rights file",
            Refusal::UnknownUser => "its user is not in the rights file",
            Refusal::WrongPassword => "its password is wrong",
            Refusal::Malformed => "its credentials are malformed",
        }
    }
}

impl Roster {
    /// Nobody yet. These limits hold for each.
    pub fn new(limits: Limits) -> Self {
        Roster {
            limits,
            identities: HashMap::new(),
            removed: HashMap::new(),
            numbers: 0,
            rights: Arc::default(),
        }
    }

    /// From now on these are all there are.
    pub fn replace(&mut self, entries: Vec<Entry>) {
        let mut identities = HashMap::new();
        let mut grants = Vec::new();
        for Entry { grant, credentials } in entries {
            let grant = Arc::new(grant);
            for credential in credentials {
                let known = self.identities.get(&credential);
                let known = known.or_else(|| self.removed.get(&credential));
                let identity = known.copied().unwrap_or_else(|| {
                    self.numbers = self.numbers.saturating_add(1);
                    Identity::new(self.numbers)
                });
                grants.push((identity, Arc::clone(&grant)));
                identities.insert(credential, identity);
            }
        }
        self.removed.extend(std::mem::replace(&mut self.identities, identities));
        self.removed.retain(|credential, _| !self.identities.contains_key(credential));
        self.forget_removed(REMOVED_MAX);
        self.rights = Arc::new(Rights::new(grants, self.limits));
    }

    /// Forgets the oldest of those that were removed, above `max`.
    fn forget_removed(&mut self, max: usize) {
        let too_many = self.removed.len().saturating_sub(max);
        let mut numbers: Vec<_> = self.removed.values().copied().collect();
        numbers.sort_unstable();
        let oldest = numbers.get(too_many).copied().unwrap_or(Identity::UNKNOWN);
        self.removed.retain(|_, identity| *identity >= oldest);
    }

    /// What all may do.
    pub fn rights(&self) -> Arc<Rights> {
        Arc::clone(&self.rights)
    }

    /// How many keys and passwords there are.
    pub(super) fn len(&self) -> usize {
        self.identities.len()
    }

    /// Who shows this.
    ///
    /// # Errors
    ///
    /// [`Refusal`] says why it is nobody.
    pub fn identity(&self, proof: &Proof) -> Result<Identity, Refusal> {
        match proof {
            Proof::None => Ok(Identity::OPEN),
            Proof::Key(key) => {
                let identity = self.identities.get(&Credential::Key(*key)).copied();
                identity.ok_or(Refusal::UnknownKey)
            }
            Proof::Password { user, password } => {
                // All are looked at, each to its end: the time tells nothing of how much
                // of a password is right.
                let mut known = Err(Refusal::UnknownUser);
                for (credential, identity) in &self.identities {
                    let Credential::Password { user: name, password: right } = credential else {
                        continue;
                    };
                    if same(name.as_bytes(), user) {
                        let right = right.is(password);
                        known = if right { Ok(*identity) } else { Err(Refusal::WrongPassword) };
                    }
                }
                known
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::password::Password;
    use super::super::rights_text::entries;
    use super::*;

    const KEY_A: &str = "HelloWorldHelloWorldHelloWorldHelloWorld";
    const KEY_B: &str = "0000000000000000000000000000000000000000";

    fn key(name: &str, key: &str) -> String {
        format!("[[peer]]\nname = \"{name}\"\npublic_key = \"{key}\"\nclient = [\"*\"]\n")
    }

    fn password(word: &str) -> String {
        format!("[[peer]]\nname = {word:?}\npassword = {word:?}\n")
    }

    fn replace(roster: &mut Roster, text: &str) {
        roster.replace(entries(text).expect("rights"));
    }

    #[test]
    fn a_key_keeps_its_number_when_it_is_removed_and_comes_back() {
        let mut roster = Roster::new(Limits::default());
        let show = |roster: &Roster, key: &str| roster.identity(&Proof::Key(key.parse().unwrap()));
        replace(&mut roster, &(key("a", KEY_A) + &key("b", KEY_B)));
        let (a, b) = (show(&roster, KEY_A).unwrap(), show(&roster, KEY_B).unwrap());
        assert!(a != b && a != Identity::OPEN && roster.len() == 2);

        replace(&mut roster, &key("renamed", KEY_A));
        assert_eq!(show(&roster, KEY_A), Ok(a));
        assert_eq!(&*roster.rights().name(a), "renamed");
        assert_eq!(show(&roster, KEY_B), Err(Refusal::UnknownKey));
        assert!(!roster.rights().knows(b));

        replace(&mut roster, &(key("b", KEY_B) + &key("a", KEY_A)));
        assert_eq!((show(&roster, KEY_A), show(&roster, KEY_B)), (Ok(a), Ok(b)));

        // Another key of the same name is somebody else.
        replace(&mut roster, &key("a", KEY_B));
        assert!(!roster.rights().knows(a) && roster.rights().knows(b));

        // What is forgotten is new when it comes back, and no number is given twice.
        roster.forget_removed(0);
        replace(&mut roster, &(key("b", KEY_B) + &key("a", KEY_A)));
        assert_eq!(show(&roster, KEY_B), Ok(b));
        assert!(show(&roster, KEY_A).is_ok_and(|again| again != a && again != b));
    }

    #[test]
    fn of_what_was_removed_the_oldest_is_forgotten_first() {
        let words = ["one", "two", "three"];
        let all = words.map(password).concat();
        let numbers = |roster: &Roster| {
            words.map(|word| {
                let proof = Proof::Password { user: word.into(), password: Password::new(word) };
                roster.identity(&proof).map(Identity::number)
            })
        };
        let mut roster = Roster::new(Limits::default());
        replace(&mut roster, &all);
        assert_eq!(numbers(&roster), [Ok(1), Ok(2), Ok(3)]);
        replace(&mut roster, "");
        roster.forget_removed(3);
        assert_eq!(roster.removed.len(), 3);
        roster.forget_removed(2);
        replace(&mut roster, &all);
        assert_eq!(numbers(&roster), [Ok(4), Ok(2), Ok(3)]);
        assert!(roster.removed.is_empty());
    }

    #[test]
    fn a_password_is_right_or_wrong_as_a_whole() {
        let mut roster = Roster::new(Limits::default());
        replace(&mut roster, "[[peer]]\nname = \"a\"\npassword = \"right\"\n");
        let show = |user: &str, password: &str| {
            let (user, password) = (user.into(), Password::new(password));
            roster.identity(&Proof::Password { user, password })
        };
        assert!(show("a", "right").is_ok());
        for wrong in ["", "righ", "right2", "Right"] {
            assert_eq!(show("a", wrong), Err(Refusal::WrongPassword), "{wrong:?}");
        }
        assert_eq!(show("b", "right"), Err(Refusal::UnknownUser));
        assert_eq!(roster.identity(&Proof::None), Ok(Identity::OPEN));
    }
}
