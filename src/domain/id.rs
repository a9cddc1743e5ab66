//! Identifiers: a prefix that says what it names, and a ULID.
//!
//! To a caller an id is an opaque string. An unknown one, even malformed, is simply "not found", so parsing returns
//! `Option` rather than an error that would invite a 400.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ulid::Ulid;

use crate::sys::clock::Timestamp;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Ulid);

        impl $name {
            /// What every id of this kind begins with, underscore included.
            pub const PREFIX: &'static str = concat!($prefix, "_");

            /// A fresh random id dated `at`.
            pub fn new(at: Timestamp) -> Self {
                Self(Ulid::from_parts(u64::try_from(at.millis()).unwrap_or(0), rand::random()))
            }

            /// Reads an id in its public form; `None` for anything else.
            pub fn parse(text: &str) -> Option<Self> {
                let ulid = text.strip_prefix(Self::PREFIX)?;
                let parsed = Ulid::from_string(ulid).ok()?;
                // The decoder also takes lower case and overflowing forms; one id has one spelling.
                (parsed.to_string() == ulid).then_some(Self(parsed))
            }

            /// The 128 bits behind the id; their order is the order of the ids.
            pub const fn to_u128(self) -> u128 {
                self.0.0
            }

            /// The id with these 128 bits.
            pub const fn from_u128(bits: u128) -> Self {
                Self(Ulid(bits))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", Self::PREFIX, self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                Self::parse(&text).ok_or_else(|| serde::de::Error::custom(concat!("must be an id like ", $prefix, "_01J…")))
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"type": "string", "pattern": concat!("^", $prefix, "_[0-9A-Z]{26}$")})
            }
        }
    };
}

id!(
    /// Names one WhatsApp session ("instance").
    InstanceId,
    "inst"
);
id!(
    /// Names an API key; it is not the secret.
    KeyId,
    "key"
);
id!(
    /// Names an event; the writer assigns them in commit order, strictly increasing.
    EventId,
    "evt"
);
id!(
    /// Names one HTTP request in replies, logs and error bodies.
    RequestId,
    "req"
);
id!(
    /// Names a webhook endpoint.
    EndpointId,
    "wh"
);
id!(
    /// Names the delivery of one event to one endpoint.
    DeliveryId,
    "dlv"
);
id!(
    /// Names one sign-in to the dashboard; it is not the cookie.
    LoginId,
    "ses"
);
id!(
    /// Names one row of the audit list.
    AuditId,
    "aud"
);
id!(
    /// Names the single owner of this installation.
    CustomerId,
    "cust"
);

/// Dated `at`, and of one millisecond in the order of `sequence`.
fn numbered(at: Timestamp, sequence: u64) -> Ulid {
    let millis = u64::try_from(at.millis()).unwrap_or(0);
    Ulid::from_parts(millis, u128::from(sequence) << 16 | u128::from(rand::random::<u16>()))
}

impl DeliveryId {
    /// The id of the delivery with this place, dated `at`: deliveries of one millisecond are listed in their order too.
    pub fn numbered(at: Timestamp, sequence: u64) -> Self {
        Self(numbered(at, sequence))
    }

    /// When the delivery was made.
    pub fn time(self) -> Timestamp {
        Timestamp::from_millis(i64::try_from(self.0.timestamp_ms()).unwrap_or(i64::MAX))
    }
}

impl AuditId {
    /// The id of the row with this place, dated `at`: rows of one millisecond are listed in their order too.
    pub fn numbered(at: Timestamp, sequence: u64) -> Self {
        Self(numbered(at, sequence))
    }

    /// The smallest id dated `at`; every older row sorts below it.
    pub fn floor(at: Timestamp) -> Self {
        Self(Ulid::from_parts(u64::try_from(at.millis()).unwrap_or(0), 0))
    }
}

impl EventId {
    /// The id that follows `last`: dated `now` while the clock runs forward, else one more than `last`.
    ///
    /// Strictly increasing whatever the clock does, because readers resume by "greater than the last one I saw".
    #[must_use]
    pub fn following(last: Option<EventId>, now: Timestamp) -> EventId {
        let fresh = EventId::new(now);
        match last {
            Some(last) if fresh <= last => EventId::from_u128(last.to_u128() + 1),
            _ => fresh,
        }
    }

    /// An id for a message to one webhook endpoint alone: dated like the others, in no order with them and never in
    /// the journal.
    #[must_use]
    pub fn apart(now: Timestamp) -> EventId {
        EventId::new(now)
    }

    /// When the event was committed, by the clock that dated it.
    pub fn time(self) -> Timestamp {
        Timestamp::from_millis(i64::try_from(self.0.timestamp_ms()).unwrap_or(i64::MAX))
    }

    /// The smallest id dated `at`; everything committed earlier sorts below it.
    #[must_use]
    pub fn floor(at: Timestamp) -> EventId {
        EventId(Ulid::from_parts(u64::try_from(at.millis()).unwrap_or(0), 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_from_its_public_form_and_from_nothing_else() {
        let id = InstanceId::new(Timestamp::from_millis(1_767_225_600_000));
        assert_eq!(InstanceId::parse(&id.to_string()), Some(id));
        let lower = id.to_string().to_lowercase();
        for bad in ["", "inst_", "inst_zz", "key_01J00000000000000000000000", lower.as_str()] {
            assert_eq!(InstanceId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn event_ids_increase_even_when_the_clock_steps_back() {
        let first = EventId::following(None, Timestamp::from_millis(2_000));
        let second = EventId::following(Some(first), Timestamp::from_millis(1_000));
        let third = EventId::following(Some(second), Timestamp::from_millis(1_000));
        assert!(first < second && second < third);
    }
}
