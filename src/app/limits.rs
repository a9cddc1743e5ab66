//! How often a key or a sign-in may ask, and how often a stranger may fail.
//!
//! A bucket is one number, the moment at which it is full again (the generic cell rate algorithm, ITU-T I.371): reading
//! it costs nothing, which `GET /v1/limits` needs, and it runs on the product's clock, which tests move.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::App;
use crate::domain::Timestamp;
use crate::domain::access::{Caller, Holder};
use crate::domain::error::{Code, Error};
use crate::sys::clock::{self, Moment};
use crate::sys::current::Current;

/// Failed authentications that one client address may cause at once, and a second in the long run.
const STRANGER: Rate = Rate {
    burst: 60,
    per_second: 1,
};

/// Buckets that are kept before full ones are swept; a full bucket says the same as none.
const SWEEP_AT: usize = 4_096;

/// A bucket's size and how fast it fills.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Rate {
    burst: u32,
    per_second: u32,
}

impl Rate {
    fn interval(self) -> Duration {
        Duration::from_secs(1) / self.per_second.max(1)
    }
}

/// What a bucket holds now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Allowance {
    /// Its size.
    pub burst: u32,
    /// Tokens left.
    pub remaining: u32,
    /// How long until it is full again.
    pub full_in: Duration,
    /// How long until there is at least one token.
    pub next_in: Duration,
}

/// Buckets of one rate, by whom they belong to.
struct Buckets<K> {
    rate: Rate,
    full_at: Mutex<HashMap<K, Moment>>,
}

impl<K: Eq + Hash> Buckets<K> {
    fn new(rate: Rate) -> Self {
        Self {
            rate,
            full_at: Mutex::default(),
        }
    }

    fn allowance(&self, full_in: Duration) -> Allowance {
        let interval = self.rate.interval();
        let missing = full_in.as_nanos().div_ceil(interval.as_nanos());
        let missing = u32::try_from(missing).unwrap_or(u32::MAX).min(self.rate.burst);
        let room = interval * self.rate.burst.saturating_sub(1);
        Allowance {
            burst: self.rate.burst,
            remaining: self.rate.burst - missing,
            full_in,
            next_in: full_in.saturating_sub(room),
        }
    }

    fn peek(&self, key: &K) -> Allowance {
        let buckets = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let full_in = buckets.get(key).map_or(Duration::ZERO, |at| at.since(clock::moment()));
        self.allowance(full_in)
    }

    /// Takes one token; `Err` when there is none.
    fn take(&self, key: K) -> Result<Allowance, Allowance> {
        let now = clock::moment();
        let mut buckets = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= SWEEP_AT {
            buckets.retain(|_, full_at| *full_at > now);
        }
        let full_in = buckets.get(&key).map_or(Duration::ZERO, |at| at.since(now));
        let before = self.allowance(full_in);
        if before.remaining == 0 {
            return Err(before);
        }
        let full_in = full_in + self.rate.interval();
        buckets.insert(key, now.plus(full_in));
        Ok(self.allowance(full_in))
    }
}

/// Every bucket of the process.
pub struct Limits {
    /// Replaced as a whole when the rate changes: everybody begins with a full bucket then.
    keys: Current<Option<Buckets<Holder>>>,
    strangers: Buckets<IpAddr>,
}

impl Limits {
    /// Buckets of `burst` tokens that fill at `per_second`; a burst of 0 switches the limits of keys off.
    pub fn new(burst: u32, per_second: u32) -> Self {
        Self {
            keys: Current::new(buckets(Rate { burst, per_second })),
            strangers: Buckets::new(STRANGER),
        }
    }

    /// From now on another rate for keys and sign-ins; the same one again changes nothing.
    pub fn set(&self, burst: u32, per_second: u32) {
        let rate = Rate { burst, per_second };
        let now = (*self.keys.get()).as_ref().map(|buckets| buckets.rate);
        let is_same = now.map_or(burst == 0, |now| now == rate);
        if !is_same {
            self.keys.set(buckets(rate));
        }
    }

    /// Takes one request from the caller's bucket. `None`: no limit applies.
    pub fn take(&self, caller: &Caller) -> Result<Option<Allowance>, Allowance> {
        match (&*self.keys.get(), caller.holder()) {
            (Some(buckets), Some(holder)) => buckets.take(holder).map(Some),
            _ => Ok(self.peek(caller)),
        }
    }

    /// What is left in the caller's bucket; the owner on the admin socket has a full one. `None`: limits are off.
    pub fn peek(&self, caller: &Caller) -> Option<Allowance> {
        let keys = self.keys.get();
        let buckets = (*keys).as_ref()?;
        Some(match &caller.holder() {
            Some(holder) => buckets.peek(holder),
            None => buckets.allowance(Duration::ZERO),
        })
    }

    /// Refuses an address that failed to authenticate too often, before its credential is looked at.
    pub fn require_trustworthy(&self, address: IpAddr) -> Result<(), Error> {
        let allowance = self.strangers.peek(&subnet(address));
        if allowance.remaining > 0 {
            return Ok(());
        }
        Err(Error::new(
            Code::RateLimited,
            "Too many failed authentications from your address. Check the API key, then wait.",
        )
        .with_retry_after(allowance.next_in))
    }

    /// Notes that an address failed to authenticate.
    pub fn note_failure(&self, address: IpAddr) {
        // An empty bucket refuses the next attempt; there is nothing more to take.
        let _ = self.strangers.take(subnet(address));
    }
}

/// Buckets of this rate; a burst of 0 is none.
fn buckets(rate: Rate) -> Option<Buckets<Holder>> {
    (rate.burst > 0).then(|| Buckets::new(rate))
}

/// Whoever has one IPv6 address usually has its whole /64.
pub(super) fn subnet(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        IpAddr::V4(address) => IpAddr::V4(address),
    }
}

/// The limits of a key and what is left of them.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Limits")]
pub struct Report {
    /// Requests; `null` when they are not limited.
    pub requests: Option<RequestLimit>,
    /// Open event streams.
    pub streams: StreamLimit,
}

/// The token bucket of requests.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct RequestLimit {
    /// Requests that may be made at once.
    pub burst: u32,
    /// Requests a second in the long run.
    pub per_second: u32,
    /// Requests left now.
    pub remaining: u32,
    /// When all are there again.
    pub full_at: Timestamp,
}

/// Event streams.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct StreamLimit {
    /// How many may be open; `null` for the owner on the admin socket.
    pub max: Option<u32>,
    /// How many are.
    pub open: u32,
}

/// The caller's limits; asking costs nothing.
pub fn get(app: &App, caller: &Caller) -> Report {
    Report {
        requests: app.limits.peek(caller).map(|allowance| RequestLimit {
            burst: allowance.burst,
            per_second: (*app.limits.keys.get()).as_ref().map_or(0, |keys| keys.rate.per_second),
            remaining: allowance.remaining,
            full_at: clock::now().plus(allowance.full_in),
        }),
        streams: StreamLimit {
            max: caller.holder().map(|_| app.streams.max_per_key()),
            open: app.streams.open_of(caller.holder()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::KeyId;

    fn caller(key: u128) -> Caller {
        Caller {
            key: Some(KeyId::from_u128(key)),
            ..Caller::OWNER
        }
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_says_when_the_next_token_comes() {
        let limits = Limits::new(3, 1);
        for left in [2, 1, 0] {
            assert_eq!(limits.take(&caller(1)).unwrap().unwrap().remaining, left);
        }
        let refused = limits.take(&caller(1)).unwrap_err();
        assert!(refused.next_in > Duration::ZERO && refused.next_in <= Duration::from_secs(1));
        assert!(refused.full_in > Duration::from_secs(2));
        assert_eq!(limits.take(&caller(2)).unwrap().unwrap().remaining, 2, "another key");
    }

    #[test]
    fn looking_at_a_bucket_takes_nothing() {
        let limits = Limits::new(3, 1);
        limits.take(&caller(1)).unwrap();
        for _ in 0..10 {
            assert_eq!(limits.peek(&caller(1)).unwrap().remaining, 2);
        }
    }

    #[test]
    fn a_burst_of_zero_switches_the_limit_off() {
        let limits = Limits::new(0, 20);
        for _ in 0..1_000 {
            assert_eq!(limits.take(&caller(1)), Ok(None));
        }
    }

    #[test]
    fn another_rate_counts_at_once_and_the_same_one_forgets_nothing() {
        let limits = Limits::new(3, 1);
        limits.take(&caller(1)).unwrap();
        limits.set(3, 1);
        assert_eq!(limits.peek(&caller(1)).unwrap().remaining, 2);
        limits.set(10, 1);
        assert_eq!(limits.peek(&caller(1)).unwrap().remaining, 10);
        limits.set(0, 1);
        assert_eq!(limits.take(&caller(1)), Ok(None));
        limits.set(3, 1);
        assert_eq!(limits.peek(&caller(1)).unwrap().remaining, 3);
    }

    #[test]
    fn an_address_that_fails_too_often_is_refused_and_its_ipv6_neighbours_too() {
        let limits = Limits::new(3, 1);
        let (one, neighbour, other): (IpAddr, IpAddr, IpAddr) = (
            "2001:db8::1".parse().unwrap(),
            "2001:db8::2".parse().unwrap(),
            "192.0.2.1".parse().unwrap(),
        );
        for _ in 0..STRANGER.burst {
            limits.require_trustworthy(one).unwrap();
            limits.note_failure(one);
        }
        assert_eq!(
            limits.require_trustworthy(neighbour).unwrap_err().code,
            Code::RateLimited
        );
        limits.require_trustworthy(other).unwrap();
    }
}
