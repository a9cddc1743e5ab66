//! Things that go wrong on purpose: asked for by `POST /admin/fault`, used up where they strike.

use serde::{Deserialize, Serialize};

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// The root's signature under the intermediate certificate is wrong.
    CertIntermediate,
    /// The intermediate's signature under the leaf certificate is wrong.
    CertLeaf,
    /// The HMAC over a link's identity is wrong.
    Hmac,
    /// The account's signature over a link's identity is wrong.
    AccountSignature,
    /// The signature of a phone's signed prekey is wrong.
    Skey,
    /// A pairing socket gets no QR codes.
    NoQr,
    /// A pairing code is refused with an error code.
    PairCode,
    /// The socket is cut without a word.
    DropSocket,
    /// The socket gets `<stream:error code=…/>` and is closed.
    StreamError,
    /// The next login gets `<failure reason=…/>`.
    Failure,
    /// A message is refused with an error code.
    Nack,
    /// A message is delivered (or, with `deliver: false`, lost) and never acknowledged.
    NoAck,
    /// Stanzas are answered late.
    Delay,
    /// A companion gets a patch of app state whose last value is damaged.
    AppState,
    /// A message reaches a companion damaged.
    CorruptCiphertext,
}

impl Kind {
    /// The name in the admin interface.
    pub(crate) fn name(self) -> String {
        serde_json::to_value(self)
            .ok()
            .and_then(|name| name.as_str().map(str::to_owned))
            .unwrap_or_default()
    }

    /// Whether it strikes before the client has said who it is.
    pub(crate) fn is_anonymous(self) -> bool {
        matches!(self, Self::CertIntermediate | Self::CertLeaf | Self::NoQr)
    }
}

/// A fault waiting to strike.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    /// How often it still strikes; `None` = always.
    pub(crate) times: Option<u64>,
    /// Only this number's devices; `None` = everybody's.
    pub(crate) phone: Option<String>,
    /// For stream errors and nacks.
    pub(crate) code: u16,
    /// For failures.
    pub(crate) reason: u16,
    /// For temporary bans (reason 402): seconds until they end.
    pub(crate) expire: Option<u64>,
    /// For delays.
    pub(crate) milliseconds: u64,
    /// For missing acks: whether the message still arrives.
    pub(crate) deliver: bool,
}

/// All faults that wait.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    waiting: Vec<Fault>,
}

impl Faults {
    /// Adds one.
    pub(crate) fn add(&mut self, fault: Fault) {
        self.waiting.push(fault);
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// What waits.
    pub(crate) fn waiting(&self) -> &[Fault] {
        &self.waiting
    }

    /// Takes one strike of a kind for a number, if such a fault waits.
    pub(crate) fn take(&mut self, kind: Kind, number: Option<&str>) -> Option<Fault> {
        let index = self
            .waiting
            .iter()
            .position(|fault| fault.kind == kind && fault.phone.as_deref().is_none_or(|phone| number == Some(phone)))?;
        let fault = &mut self.waiting[index];
        let struck = fault.clone();
        if let Some(times) = &mut fault.times {
            *times -= 1;
            if *times == 0 {
                self.waiting.remove(index);
            }
        }
        Some(struck)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(kind: Kind, times: Option<u64>, phone: Option<&str>) -> Fault {
        Fault {
            kind,
            times,
            phone: phone.map(str::to_owned),
            code: 0,
            reason: 0,
            expire: None,
            milliseconds: 0,
            deliver: true,
        }
    }

    #[test]
    fn a_fault_strikes_as_often_as_asked() {
        let mut faults = Faults::default();
        faults.add(fault(Kind::Nack, Some(2), None));
        assert!(faults.take(Kind::Nack, Some("1")).is_some());
        assert!(faults.take(Kind::Delay, Some("1")).is_none());
        assert!(faults.take(Kind::Nack, Some("2")).is_some());
        assert!(faults.take(Kind::Nack, Some("1")).is_none());
    }

    #[test]
    fn a_lasting_fault_strikes_until_cleared() {
        let mut faults = Faults::default();
        faults.add(fault(Kind::NoAck, None, None));
        assert!((0..100).all(|_| faults.take(Kind::NoAck, None).is_some()));
        faults.clear();
        assert!(faults.take(Kind::NoAck, None).is_none());
    }

    #[test]
    fn a_fault_for_one_phone_spares_the_others() {
        let mut faults = Faults::default();
        faults.add(fault(Kind::Hmac, Some(1), Some("1")));
        assert!(faults.take(Kind::Hmac, Some("2")).is_none());
        assert!(faults.take(Kind::Hmac, None).is_none());
        assert!(faults.take(Kind::Hmac, Some("1")).is_some());
    }
}
