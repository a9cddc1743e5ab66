//! A phone scans a QR code and vouches for the companion that shows it.

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tokio::sync::oneshot;

use crate::account::DeviceAddress;
use crate::adv::{self, Forgery};
use crate::clock::unix_seconds;
use crate::fault::{Kind, Stage};
use crate::pairing::Granted;
use crate::stanza::fresh_id;
use crate::world::World;

/// Companions that a phone may have.
const LINKED_DEVICES: usize = 4;

/// How a link ended: the new device, or why not.
pub(crate) type Outcome = oneshot::Receiver<Result<DeviceAddress, String>>;

/// The fields of a QR code.
#[derive(Debug)]
pub(crate) struct Code {
    pub(crate) reference: String,
    pub(crate) noise_static: Vec<u8>,
    pub(crate) identity: Vec<u8>,
    pub(crate) secret: Vec<u8>,
}

impl Code {
    /// Reads the text of a QR code, with or without the link that newer clients put in front.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let fields = text.trim().rsplit('#').next().unwrap_or_default();
        let fields: Vec<&str> = fields.split(',').collect();
        let [reference, noise_static, identity, secret, ..] = fields.as_slice() else {
            bail!("this is not a WhatsApp QR code: it has fewer than four fields");
        };
        let key = |name: &str, field: &str| -> Result<Vec<u8>> {
            let bytes = BASE64_STANDARD
                .decode(field)
                .with_context(|| format!("the {name} in the code is not base64"))?;
            if bytes.len() != 32 {
                bail!("the {name} in the code has {} bytes instead of 32", bytes.len());
            }
            Ok(bytes)
        };
        Ok(Self {
            reference: (*reference).to_owned(),
            noise_static: key("Noise key", noise_static)?,
            identity: key("identity key", identity)?,
            secret: key("secret", secret)?,
        })
    }
}

impl World {
    /// The phone scans: checks the code against the socket that shows it, signs, and sends the grant.
    pub(crate) fn phone_scans(&mut self, number: &str, code: &Code) -> Result<Outcome> {
        self.ensure_phone(number)?;
        let (&socket, pairing) = self
            .pairings
            .iter()
            .find(|(_, pairing)| pairing.refs.contains(&code.reference))
            .context("no open socket shows this code; it may have expired")?;
        if pairing.noise_static != code.noise_static {
            bail!("the code's Noise key is not the one of the socket that shows it");
        }
        if pairing.identity != code.identity {
            bail!("the code's identity key is not the one that the client registered with");
        }
        let (outcome, waiting) = oneshot::channel();
        self.grant(number, socket, &code.secret, outcome)?;
        Ok(waiting)
    }

    /// Refuses what a phone cannot do while it is offline or has all the companions that it may have.
    pub(crate) fn require_place(&self, number: &str) -> Result<()> {
        let account = self.accounts.get(number).context("no such phone")?;
        if !account.phone.online {
            bail!("the phone is offline");
        }
        let linked = account.companions.len();
        if linked >= LINKED_DEVICES {
            bail!("the phone has {linked} linked devices, no more are allowed; unlink one first");
        }
        Ok(())
    }

    /// Lets a phone vouch that has agreed on a secret with the companion behind a socket.
    pub(crate) fn grant_confirmed(&mut self, socket: u64) -> Result<()> {
        let pairing = self.pairings.get_mut(&socket).context("the socket is gone")?;
        let Some(confirmed) = pairing.confirmed.take() else {
            return Ok(());
        };
        let (number, secret) = (confirmed.number, confirmed.secret);
        let taken = pairing.granted.is_some();
        let refusal = match self.require_place(&number) {
            Ok(()) if taken => "another phone was faster".to_owned(),
            Ok(()) => return self.grant(&number, socket, &secret, confirmed.outcome),
            Err(error) => format!("{error:#}"),
        };
        // The caller may have stopped waiting.
        let _ = confirmed.outcome.send(Err(refusal));
        Ok(())
    }

    /// Vouches for the companion behind a socket with the secret that only it and the phone know.
    fn grant(
        &mut self,
        number: &str,
        socket: u64,
        secret: &[u8],
        outcome: oneshot::Sender<Result<DeviceAddress, String>>,
    ) -> Result<()> {
        self.require_place(number)?;
        let pairing = self.pairings.get(&socket).context("the socket is gone")?;
        if pairing.granted.is_some() || pairing.demand.is_some() {
            bail!("this code was scanned already");
        }
        let (identity, shown) = (pairing.identity.clone(), pairing.passkey_shown);
        let account = self.accounts.get(number).context("no such phone")?;
        let address = DeviceAddress::new(number, account.next_device);
        if let Some((ending, _)) = self.planned_end(Stage::Scan, &address) {
            let pairing = self.pairings.get_mut(&socket).context("the socket is gone")?;
            pairing.end_by(ending);
            bail!("a fault ended the client's socket before it got the grant");
        }
        if !shown && self.strike(Kind::Passkey, &address).is_some() {
            return self.demand_passkey(number, socket, outcome);
        }
        let forgery = Forgery {
            hmac: self.strike(Kind::Hmac, &address).is_some(),
            account_signature: self.strike(Kind::AccountSignature, &address).is_some(),
        };
        let account = self.accounts.get_mut(number).context("no such phone")?;
        let (device, key_index) = (account.next_device, account.next_key_index);
        account.next_device += 1;
        account.next_key_index += 1;
        account.save(&mut self.journal)?;
        let grant = adv::grant(
            account.phone.signal.identity(),
            account.raw_id,
            key_index,
            unix_seconds(),
            &identity,
            secret,
            forgery,
        )?;
        let iq = fresh_id();
        let stanza = self.pair_success(number, device, &iq, grant.container)?;
        let pairing = self.pairings.get_mut(&socket).context("the socket is gone")?;
        pairing.granted = Some(Granted {
            number: number.to_owned(),
            device,
            key_index,
            iq,
            signed: grant.signed,
            outcome,
        });
        pairing.outgoing.push(stanza);
        pairing.wake.notify_one();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(prefix: &str) -> String {
        let key = BASE64_STANDARD.encode([7; 32]);
        format!("{prefix}2@ref,{key},{key},{key},1")
    }

    #[test]
    fn a_code_is_read_with_and_without_the_link_in_front() {
        for prefix in ["", "https://wa.me/settings/linked_devices#"] {
            let code = Code::parse(&text(prefix)).unwrap();
            assert_eq!(code.reference, "2@ref");
            assert_eq!(code.secret, [7; 32]);
        }
    }

    #[test]
    fn what_is_no_code_is_refused_with_a_reason() {
        for (bad, reason) in [
            ("", "fewer than four"),
            ("a,b,c,d", "not base64"),
            ("a,AAAA,AAAA,AAAA", "3 bytes"),
        ] {
            let refusal = format!("{:#}", Code::parse(bad).unwrap_err());
            assert!(refusal.contains(reason), "{bad}: {refusal}");
        }
    }
}
