//! Whose requests run.

use foldhash::HashSet;
use majordomo_protocol::ClientAddress;

/// Client addresses, each once. The one that came last stands apart: an inline handler has
/// answered it before the next one comes, and then there is nothing in the table.
#[derive(Debug, Default)]
pub(super) struct Running {
    last: Option<ClientAddress>,
    others: HashSet<ClientAddress>,
}

impl Running {
    /// Puts one in. Whether it was not there.
    pub(super) fn insert(&mut self, client: &ClientAddress) -> bool {
        if self.contains(client) {
            return false;
        }
        if let Some(before) = self.last.replace(client.clone()) {
            self.others.insert(before);
        }
        true
    }

    /// Takes one out. Whether it was there.
    pub(super) fn remove(&mut self, client: &ClientAddress) -> bool {
        if self.last.as_ref() == Some(client) {
            self.last = None;
            return true;
        }
        self.others.remove(client)
    }

    pub(super) fn contains(&self, client: &ClientAddress) -> bool {
        self.last.as_ref() == Some(client) || self.others.contains(client)
    }

    pub(super) fn len(&self) -> usize {
        self.others.len() + usize::from(self.last.is_some())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn clear(&mut self) {
        self.last = None;
        self.others.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn it_is_a_set_in_whatever_order_they_come_and_go() {
        let mut random = fastrand::Rng::with_seed(7);
        let (mut running, mut expected) = (Running::default(), BTreeSet::new());
        for _ in 0..10_000 {
            let client = ClientAddress::new(&[random.u8(..8)]);
            match random.u8(..20) {
                0 => {
                    running.clear();
                    expected.clear();
                }
                1..10 => assert_eq!(running.insert(&client), expected.insert(client.clone())),
                _ => assert_eq!(running.remove(&client), expected.remove(&client)),
            }
            assert_eq!(running.contains(&client), expected.contains(&client));
            assert_eq!((running.len(), running.is_empty()), (expected.len(), expected.is_empty()));
        }
    }
}
