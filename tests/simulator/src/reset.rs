//! Forgetting: everything, or one phone with all that hangs on it.

use anyhow::{Context as _, Result, bail};

use crate::account::{DeviceAddress, key};
use crate::ending::Ending;
use crate::state::{Journal, Records};
use crate::world::World;

impl World {
    /// Back to an empty simulator with the same keys, as if it had been started on an empty folder.
    pub(crate) fn reset(&mut self) -> Result<()> {
        let kept = Records::from([
            (key::SERVER.to_owned(), self.keys.to_record()?),
            (key::TLS.to_owned(), self.tls.to_record()?),
        ]);
        self.journal.start_over(&kept)?;
        let journal = std::mem::replace(&mut self.journal, Journal::in_memory());
        let mut fresh = Self::new(journal, &kept, self.answering)
            .context("the state folder is empty, but the simulator could not begin anew; restart it")?;
        let links: Vec<DeviceAddress> = self.links.keys().cloned().collect();
        for address in &links {
            self.take_socket_away(address);
        }
        for pairing in self.pairings.values_mut() {
            pairing.end_by(Ending::POLITE);
        }
        fresh.take_sockets_of(self);
        *self = fresh;
        self.make_first_phones()
    }

    /// Forgets one phone: its account, companions, messages, and what others keep about it. `false` if there is none.
    pub(crate) fn forget_phone(&mut self, number: &str) -> Result<bool> {
        if let Some(group) = self.groups.iter().find(|group| group.role(number).is_some()) {
            bail!(
                "the phone is a member of {}; let it leave its groups first",
                group.jid()
            );
        }
        let Some(account) = self.accounts.remove(number) else {
            return Ok(false);
        };
        let links: Vec<DeviceAddress> = self
            .links
            .keys()
            .filter(|link| link.number == number)
            .cloned()
            .collect();
        for address in &links {
            self.take_socket_away(address);
        }
        for pairing in self.pairings.values_mut() {
            if pairing.granted.as_ref().is_some_and(|granted| granted.number == number) {
                pairing.end_by(Ending::POLITE);
            }
        }
        let devices = account.devices();
        for other in self.accounts.iter_mut() {
            for device in &devices {
                other.phone.signal.forget_session(&DeviceAddress::new(number, *device));
            }
            if other.watchers.remove(number) {
                other.save(&mut self.journal)?;
            }
        }
        self.journal.delete_where(|name| concerns(name, number))?;
        Ok(true)
    }
}

/// Whether a record belongs to a number, or is somebody's session with it.
fn concerns(name: &str, number: &str) -> bool {
    let parts: Vec<&str> = name.split('/').collect();
    match parts.as_slice() {
        ["phone", _, "session" | "contact", peer, ..] if *peer == number => true,
        [_, owner, ..] => *owner == number,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forgotten_number_takes_its_own_records_and_foreign_sessions_with_it() {
        for (name, gone) in [
            ("account/55119", true),
            ("queue/55119/00001/00000000000000000001", true),
            ("phone/55119/inbox/00000000000000000001", true),
            ("phone/55228/session/55119/00000", true),
            ("phone/55228/inbox/00000000000000000001", false),
            ("account/551190", false),
            ("server/keys", false),
        ] {
            assert_eq!(concerns(name, "55119"), gone, "{name}");
        }
    }
}
