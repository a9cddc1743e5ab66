//! Things that go wrong on purpose: asked for by `POST /admin/fault`, used up where they strike.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::account::DeviceAddress;

pub(crate) mod manual;

/// What can go wrong; [`manual`] says of each where it strikes and what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// The root's signature under the intermediate certificate is wrong.
    CertIntermediate,
    /// The intermediate's signature under the leaf certificate is wrong.
    CertLeaf,
    /// A pairing socket gets no QR codes.
    NoQr,
    /// The QR codes of a pairing socket run out at once: the server offers none any more.
    QrExhausted,
    /// A pairing code is refused with an error code.
    PairCode,
    /// The account demands a passkey of whoever wants to be linked.
    Passkey,
    /// The HMAC over a link's identity is wrong.
    Hmac,
    /// The account's signature over a link's identity is wrong.
    AccountSignature,
    /// The account's signature over a companion's identity, as others are shown it, is wrong.
    DeviceIdentity,
    /// The signature of a signed prekey is wrong.
    Skey,
    /// The server claims to have no keys of a device.
    #[serde(rename = "prekey-404")]
    Prekey404,
    /// The socket is cut without a word.
    DropSocket,
    /// The socket stays open and is dead.
    HalfOpen,
    /// The socket gets `<stream:error>` and is closed.
    StreamError,
    /// The next login gets `<failure reason=…/>`.
    Failure,
    /// A message is refused with an error code.
    Nack,
    /// A message is delivered (or, with `deliver: false`, lost) and never acknowledged.
    NoAck,
    /// A phone confirms nothing.
    NoReceipt,
    /// Stanzas are answered late.
    Delay,
    /// A companion gets a patch of app state whose last value is damaged.
    AppState,
    /// Stanzas are written late.
    SlowSocket,
    /// A message reaches a companion damaged.
    CorruptCiphertext,
    /// A message reaches a companion twice.
    Duplicate,
    /// A medium is not found, or refused with another code.
    #[serde(rename = "media-404")]
    Media404,
}

impl Kind {
    /// All kinds, in the order of the manual.
    pub(crate) const ALL: &[Self] = &[
        Self::CertIntermediate,
        Self::CertLeaf,
        Self::NoQr,
        Self::QrExhausted,
        Self::PairCode,
        Self::Passkey,
        Self::Hmac,
        Self::AccountSignature,
        Self::DeviceIdentity,
        Self::Skey,
        Self::Prekey404,
        Self::DropSocket,
        Self::HalfOpen,
        Self::StreamError,
        Self::Failure,
        Self::Nack,
        Self::NoAck,
        Self::NoReceipt,
        Self::Delay,
        Self::AppState,
        Self::SlowSocket,
        Self::CorruptCiphertext,
        Self::Duplicate,
        Self::Media404,
    ];

    /// The name in the admin interface.
    pub(crate) fn name(self) -> String {
        plain_name(self)
    }
}

/// Where in a socket's life a fault strikes, for kinds that leave the choice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Stage {
    /// Open sockets at once, else the next login.
    #[default]
    Now,
    /// In the Noise handshake.
    Handshake,
    /// A registration that waits for its codes.
    Register,
    /// Between scan and grant.
    Scan,
    /// Between the client's answer to the grant and the new login.
    Linked,
    /// Before `<success>`.
    Login,
    /// In the middle of what waited.
    Backlog,
    /// When the client sends a message.
    Message,
}

impl Stage {
    /// All stages, in the order of a client's life.
    pub(crate) const ALL: &[Self] = &[
        Self::Now,
        Self::Handshake,
        Self::Register,
        Self::Scan,
        Self::Linked,
        Self::Login,
        Self::Backlog,
        Self::Message,
    ];

    /// The name in the admin interface.
    pub(crate) fn name(self) -> String {
        plain_name(self)
    }

    /// For people.
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::Now => {
                "(default) every matching open socket at once, each counted; with none open, the next login right after <success>"
            }
            Self::Handshake => "when a new socket has said hello; `phone` is refused, nobody knows it yet",
            Self::Register => "when a registration would get its codes; `phone` is refused, nobody knows it yet",
            Self::Scan => "when the phone has vouched for a client, instead of handing it the grant",
            Self::Linked => "when the client has answered the grant and is linked, instead of the call to log in anew",
            Self::Login => "instead of <success>",
            Self::Backlog => "when the first stanzas of what waited are written, before the rest",
            Self::Message => "when the client sends a message, instead of acknowledging it",
        }
    }

    /// Whether the client has not said who it is yet.
    pub(crate) const fn is_anonymous(self) -> bool {
        matches!(self, Self::Handshake | Self::Register)
    }
}

fn plain_name(value: impl Serialize) -> String {
    serde_json::to_value(value)
        .ok()
        .and_then(|name| name.as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// The words of a `<conflict>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Conflict {
    /// Another socket of the same device took over.
    Replaced,
    /// The phone unlinked the device.
    DeviceRemoved,
}

/// What a fault was given beside its kind and scope; which of them a kind takes is in its manual.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Details {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<Stage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) conflict: Option<Conflict>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expire: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) location: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) deliver: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) with: Option<String>,
}

impl Details {
    /// Where it strikes.
    pub(crate) fn stage(&self) -> Stage {
        self.at.unwrap_or_default()
    }

    /// Whether the message concerned still arrives.
    pub(crate) fn delivers(&self) -> bool {
        self.deliver.unwrap_or(true)
    }

    /// How late.
    pub(crate) fn lateness(&self) -> std::time::Duration {
        std::time::Duration::from_millis(self.ms.unwrap_or(1000))
    }
}

/// A fault waiting to strike, or struck for the last time.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Fault {
    /// Unique in this run.
    pub(crate) id: u64,
    pub(crate) kind: Kind,
    /// How often it still strikes; `None` = always.
    pub(crate) times: Option<u64>,
    /// How often it struck.
    pub(crate) struck: u64,
    /// Only this number's devices; `None` = everybody's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) phone: Option<String>,
    /// Only this device of the number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) device: Option<u16>,
    #[serde(flatten)]
    pub(crate) details: Details,
}

/// Whom a strike would hit, as far as that is known.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Whom<'a> {
    number: Option<&'a str>,
    device: Option<u16>,
    /// To whom they write.
    to: Option<&'a str>,
}

impl<'a> Whom<'a> {
    /// A device that writes to somebody.
    pub(crate) fn writing(from: &'a DeviceAddress, to: Option<&'a str>) -> Self {
        Self { to, ..Self::from(from) }
    }
}

impl<'a> From<Option<&'a str>> for Whom<'a> {
    fn from(number: Option<&'a str>) -> Self {
        Self {
            number,
            ..Self::default()
        }
    }
}

impl<'a> From<Option<&'a String>> for Whom<'a> {
    fn from(number: Option<&'a String>) -> Self {
        number.map(String::as_str).into()
    }
}

impl<'a> From<&'a DeviceAddress> for Whom<'a> {
    fn from(address: &'a DeviceAddress) -> Self {
        Self {
            number: Some(&address.number),
            device: Some(address.device),
            to: None,
        }
    }
}

impl Fault {
    fn hits(&self, kind: Kind, stage: Option<Stage>, whom: Whom<'_>) -> bool {
        self.kind == kind
            && stage.is_none_or(|stage| self.details.stage() == stage)
            && self.phone.as_deref().is_none_or(|phone| whom.number == Some(phone))
            && self.device.is_none_or(|device| whom.device == Some(device))
            && self
                .details
                .with
                .as_deref()
                .is_none_or(|with| whom.to.is_some_and(|to| to == with || whom.number == Some(with)))
    }
}

/// Spent faults that are still told of.
const REMEMBERED: usize = 100;
/// Faults that may wait at once.
pub(crate) const MOST_WAITING: usize = 1000;

/// All faults that wait, and the last ones that do not any more.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    waiting: Vec<Fault>,
    spent: VecDeque<Fault>,
    last_id: u64,
}

impl Faults {
    /// Adds one and gives it its id.
    pub(crate) fn add(&mut self, mut fault: Fault) -> u64 {
        self.last_id += 1;
        fault.id = self.last_id;
        self.waiting.push(fault);
        self.last_id
    }

    /// Forgets all that wait.
    pub(crate) fn clear(&mut self) {
        for fault in std::mem::take(&mut self.waiting) {
            self.remember(fault);
        }
    }

    /// Forgets one that waits; `false` if there is none with that id.
    pub(crate) fn remove(&mut self, id: u64) -> bool {
        let Some(index) = self.waiting.iter().position(|fault| fault.id == id) else {
            return false;
        };
        let fault = self.waiting.remove(index);
        self.remember(fault);
        true
    }

    /// What waits.
    pub(crate) fn waiting(&self) -> &[Fault] {
        &self.waiting
    }

    /// What does not wait any more, oldest first.
    pub(crate) fn spent(&self) -> &VecDeque<Fault> {
        &self.spent
    }

    /// Whether a fault of this kind is meant for the phone of a number, and not for its companions.
    pub(crate) fn name_phone(&self, kind: Kind, number: &str) -> bool {
        self.waiting
            .iter()
            .any(|fault| fault.kind == kind && fault.device == Some(0) && fault.phone.as_deref() == Some(number))
    }

    fn remember(&mut self, fault: Fault) {
        self.spent.push_back(fault);
        if self.spent.len() > REMEMBERED {
            self.spent.pop_front();
        }
    }

    /// Takes one strike of a kind, if such a fault waits there for them; without a stage any will do.
    pub(crate) fn take(&mut self, kind: Kind, stage: Option<Stage>, whom: Whom<'_>) -> Option<Fault> {
        let index = self.waiting.iter().position(|fault| fault.hits(kind, stage, whom))?;
        let fault = &mut self.waiting[index];
        fault.struck += 1;
        if let Some(times) = &mut fault.times {
            *times -= 1;
            if *times == 0 {
                let fault = self.waiting.remove(index);
                self.remember(fault.clone());
                return Some(fault);
            }
        }
        Some(self.waiting[index].clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(kind: Kind, times: Option<u64>, phone: Option<&str>) -> Fault {
        Fault {
            id: 0,
            kind,
            times,
            struck: 0,
            phone: phone.map(str::to_owned),
            device: None,
            details: Details::default(),
        }
    }

    fn take(faults: &mut Faults, kind: Kind, number: Option<&str>) -> bool {
        faults.take(kind, None, number.into()).is_some()
    }

    #[test]
    fn a_fault_strikes_as_often_as_asked_and_tells_how_often() {
        let mut faults = Faults::default();
        faults.add(fault(Kind::Nack, Some(2), None));
        assert!(take(&mut faults, Kind::Nack, Some("1")));
        assert_eq!(faults.waiting()[0].struck, 1);
        assert!(!take(&mut faults, Kind::Delay, Some("1")));
        assert!(take(&mut faults, Kind::Nack, Some("2")));
        assert!(!take(&mut faults, Kind::Nack, Some("1")));
        assert_eq!((faults.waiting().len(), faults.spent()[0].struck), (0, 2));
    }

    #[test]
    fn a_lasting_fault_strikes_until_removed() {
        let mut faults = Faults::default();
        let (one, other) = (
            faults.add(fault(Kind::NoAck, None, None)),
            faults.add(fault(Kind::Nack, None, None)),
        );
        assert!((0..100).all(|_| take(&mut faults, Kind::NoAck, None)));
        assert!(faults.remove(one) && !faults.remove(one));
        assert!(!take(&mut faults, Kind::NoAck, None));
        assert!(take(&mut faults, Kind::Nack, None));
        assert_ne!(one, other);
        faults.clear();
        assert!(!take(&mut faults, Kind::Nack, None));
        let struck: Vec<u64> = faults.spent().iter().map(|fault| fault.struck).collect();
        assert_eq!(struck, [100, 1]);
    }

    #[test]
    fn a_fault_for_one_phone_or_device_spares_the_others() {
        let mut faults = Faults::default();
        faults.add(fault(Kind::Hmac, Some(1), Some("1")));
        assert!(!take(&mut faults, Kind::Hmac, Some("2")));
        assert!(!take(&mut faults, Kind::Hmac, None));
        assert!(take(&mut faults, Kind::Hmac, Some("1")));
        let mut narrow = fault(Kind::Nack, Some(1), Some("1"));
        narrow.device = Some(2);
        faults.add(narrow);
        assert!(!take(&mut faults, Kind::Nack, Some("1")));
        for (device, struck) in [(1, false), (2, true)] {
            let address = DeviceAddress::new("1", device);
            assert_eq!(faults.take(Kind::Nack, None, (&address).into()).is_some(), struck);
        }
    }

    #[test]
    fn a_fault_strikes_at_its_stage_alone() {
        let mut faults = Faults::default();
        let mut late = fault(Kind::DropSocket, Some(1), None);
        late.details.at = Some(Stage::Message);
        faults.add(late);
        for (stage, struck) in [(Stage::Now, false), (Stage::Login, false), (Stage::Message, true)] {
            let taken = faults.take(Kind::DropSocket, Some(stage), Whom::default());
            assert_eq!(taken.is_some(), struck, "{stage:?}");
        }
    }

    #[test]
    fn the_list_of_kinds_is_complete() {
        for kind in Kind::ALL {
            assert!(!kind.name().is_empty());
        }
        // A kind that is missing above is refused by the admin interface, so the last one must be the last variant.
        assert_eq!(Kind::ALL.len(), Kind::Media404 as usize + 1);
    }
}
