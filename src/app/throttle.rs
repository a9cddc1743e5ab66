//! How often somebody may guess: three wrong passwords, then a pause that doubles.
//!
//! The guess is counted before it is checked, so that a hundred at once are not a hundred free ones. Nothing here holds
//! back somebody who is signed in: those are asked for their cookie, never for a password.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::limits::subnet;
use crate::domain::error::{Code, Error};
use crate::domain::id::LoginId;
use crate::sys::clock::{self, Moment};

/// Wrong passwords before a pause.
const TRIES: u32 = 3;

/// The first pause; each further one is twice as long …
const FIRST_PAUSE: Duration = Duration::from_mins(1);

/// … up to this.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// A guesser that has been quiet for this long begins anew.
const FORGOTTEN_AFTER: Duration = Duration::from_hours(24);

/// Guessers that are remembered; the quietest goes first.
const REMEMBERED: usize = 4_096;

/// Who guesses.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Guesser {
    /// Somebody unknown, by address; of an IPv6 address its /64.
    Address(IpAddr),
    /// Somebody signed in, who is asked for the password once more.
    Login(LoginId),
}

impl Guesser {
    /// Whoever calls from this address.
    pub fn at(address: IpAddr) -> Self {
        Self::Address(subnet(address))
    }
}

#[derive(Clone, Copy, Debug)]
struct Record {
    /// Guesses since the last pause.
    tries: u32,
    pauses: u32,
    paused_until: Option<Moment>,
    last: Moment,
}

/// Everybody who guessed wrong lately.
#[derive(Default)]
pub struct Throttle {
    records: Mutex<HashMap<Guesser, Record>>,
}

/// What a wrong guess leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Left {
    /// Guesses until the pause.
    pub attempts: u32,
    /// The pause that follows them.
    pub pause: Duration,
}

impl Throttle {
    /// Counts a guess, before it is checked; refuses it during a pause.
    pub fn begin(&self, guesser: Guesser) -> Result<Left, Error> {
        let now = clock::moment();
        let mut records = self.records();
        make_room(&mut records, now);
        let record = records.entry(guesser).or_insert(Record {
            tries: 0,
            pauses: 0,
            paused_until: None,
            last: now,
        });
        if let Some(until) = record.paused_until {
            let wait = until.since(now);
            if wait > Duration::ZERO {
                return Err(paused(guesser, wait));
            }
            record.paused_until = None;
            record.tries = 0;
        }
        record.tries += 1;
        record.last = now;
        let pause = pause(record.pauses);
        if record.tries >= TRIES {
            record.pauses += 1;
            record.paused_until = Some(now.plus(pause));
        }
        Ok(Left {
            attempts: TRIES.saturating_sub(record.tries),
            pause,
        })
    }

    /// Takes a guess back that was never checked.
    pub fn give_back(&self, guesser: Guesser) {
        if let Some(record) = self.records().get_mut(&guesser) {
            if record.paused_until.take().is_some() {
                record.pauses = record.pauses.saturating_sub(1);
            }
            record.tries = record.tries.saturating_sub(1);
        }
    }

    /// Forgets a guesser who turned out to know.
    pub fn forgive(&self, guesser: Guesser) {
        self.records().remove(&guesser);
    }

    /// Forgets everybody: the owner has set a new password.
    pub fn forgive_all(&self) {
        self.records().clear();
    }

    fn records(&self) -> MutexGuard<'_, HashMap<Guesser, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Left {
    /// What is left, in words.
    pub fn sentence(self) -> String {
        let pause = words(self.pause);
        match self.attempts {
            0 => format!("Try again in {pause}."),
            1 => format!("One more try, then a pause of {pause}."),
            more => format!("{more} more tries, then a pause of {pause}."),
        }
    }
}

fn pause(before: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << before.min(6)).min(LONGEST_PAUSE)
}

fn words(pause: Duration) -> String {
    match pause.as_secs().div_ceil(60) {
        1 => "one minute".to_owned(),
        60 => "an hour".to_owned(),
        minutes => format!("{minutes} minutes"),
    }
}

fn make_room(records: &mut HashMap<Guesser, Record>, now: Moment) {
    if records.len() < REMEMBERED {
        return;
    }
    records.retain(|_, record| now.since(record.last) < FORGOTTEN_AFTER);
    while records.len() >= REMEMBERED {
        let quietest = records
            .iter()
            .min_by_key(|(_, record)| record.last)
            .map(|(guesser, _)| *guesser);
        match quietest {
            Some(guesser) => records.remove(&guesser),
            None => return,
        };
    }
}

fn paused(guesser: Guesser, wait: Duration) -> Error {
    let message = match guesser {
        // True behind a proxy as well, where everybody has its address unless the gateway knows of it.
        Guesser::Address(_) => {
            "Too many wrong passwords came from the address that this request came from; behind a reverse proxy that the gateway was not told of (--behind-proxy) that is everybody. Wait as long as Retry-After says. Who is signed in stays signed in, and `whatisup password` on the machine sets a new password at once."
        }
        Guesser::Login(_) => {
            "Too many wrong passwords with this sign-in. Wait as long as Retry-After says; everything else goes on."
        }
    };
    Error::new(Code::RateLimited, message)
        .with_details(serde_json::json!({ "attempts_left": 0 }))
        .with_retry_after(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guesser(text: &str) -> Guesser {
        Guesser::at(text.parse().unwrap())
    }

    /// Guesses until refused; how often that worked, and how long the refusal says to wait.
    fn exhaust(throttle: &Throttle, guesser: Guesser) -> (Vec<u32>, Duration) {
        let mut left = Vec::new();
        loop {
            match throttle.begin(guesser) {
                Ok(more) => left.push(more.attempts),
                Err(refused) => return (left, refused.retry_after.unwrap()),
            }
        }
    }

    #[test]
    fn three_guesses_are_free_and_then_there_is_a_pause_of_a_minute() {
        let throttle = Throttle::default();
        let (left, wait) = exhaust(&throttle, guesser("192.0.2.1"));
        assert_eq!(left, [2, 1, 0]);
        assert!(wait > Duration::from_secs(50) && wait <= FIRST_PAUSE, "{wait:?}");
        assert!(throttle.begin(guesser("192.0.2.2")).is_ok(), "another address");
    }

    #[test]
    fn an_ipv6_address_shares_its_count_with_its_network() {
        let throttle = Throttle::default();
        exhaust(&throttle, guesser("2001:db8::1"));
        assert!(throttle.begin(guesser("2001:db8::ffff:2")).is_err());
        assert!(throttle.begin(guesser("2001:db8:0:1::1")).is_ok());
        exhaust(&throttle, guesser("192.0.2.1"));
        assert!(
            throttle.begin(guesser("::ffff:192.0.2.1")).is_err(),
            "the same one in IPv6"
        );
    }

    #[test]
    fn pauses_double_up_to_an_hour() {
        let minutes: Vec<u64> = (0..9).map(|before| pause(before).as_secs() / 60).collect();
        assert_eq!(minutes, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn who_knew_the_password_begins_anew_and_what_was_not_checked_does_not_count() {
        let throttle = Throttle::default();
        let one = guesser("192.0.2.1");
        for _ in 0..10 {
            throttle.begin(one).unwrap();
            throttle.give_back(one);
        }
        let (left, _) = exhaust(&throttle, one);
        assert_eq!(left, [2, 1, 0]);
        throttle.forgive(one);
        assert_eq!(throttle.begin(one).unwrap().attempts, 2);
    }

    #[test]
    fn a_crowd_of_guessers_does_not_fill_the_memory() {
        let throttle = Throttle::default();
        for network in 0..=u32::try_from(REMEMBERED).unwrap() {
            let address = IpAddr::V4(network.into());
            throttle.begin(Guesser::at(address)).unwrap();
        }
        assert_eq!(throttle.records().len(), REMEMBERED);
    }

    #[test]
    fn what_is_left_is_said_in_words() {
        let said = |attempts, minutes| {
            Left {
                attempts,
                pause: Duration::from_mins(minutes),
            }
            .sentence()
        };
        assert_eq!(said(2, 1), "2 more tries, then a pause of one minute.");
        assert_eq!(said(1, 4), "One more try, then a pause of 4 minutes.");
        assert_eq!(said(0, 60), "Try again in an hour.");
    }
}
