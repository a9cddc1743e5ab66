//! Passwords: hashed slowly, one at a time, so that neither a guesser nor a flood gets far.

use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

use crate::domain::error::{Code, Error};

/// What OWASP's cheat sheet on password storage says for argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// How many may be hashed or wait for it; more are sent away. A Raspberry Pi takes a few tenths of a second for one.
const WAITING: usize = 8;

/// Hashes passwords off the runtime's threads, one at a time: 19 MiB and one core are all that a flood gets.
#[derive(Clone)]
pub struct Hasher {
    places: Arc<Semaphore>,
    turn: Arc<Semaphore>,
}

impl Default for Hasher {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(WAITING)),
            turn: Arc::new(Semaphore::new(1)),
        }
    }
}

impl Hasher {
    /// Hashes a password under a fresh salt; the text holds salt and parameters.
    pub async fn hash(&self, password: String) -> Result<String, Error> {
        self.run(move || {
            let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>()).map_err(Error::internal)?;
            let hash = argon2()?.hash_password(password.as_bytes(), &salt);
            Ok(hash.map_err(Error::internal)?.to_string())
        })
        .await?
    }

    /// Whether the password is the one behind the hash. Without a hash it takes as long and is never right.
    pub async fn verify(&self, password: String, hash: Option<String>) -> Result<bool, Error> {
        let Some(hash) = hash else {
            return self.hash(password).await.map(|_| false);
        };
        self.run(move || {
            let hash = PasswordHash::new(&hash).map_err(Error::internal)?;
            match argon2()?.verify_password(password.as_bytes(), &hash) {
                Ok(()) => Ok(true),
                Err(argon2::password_hash::Error::Password) => Ok(false),
                Err(error) => Err(Error::internal(error)),
            }
        })
        .await?
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let _place = self.places.try_acquire().map_err(|_| busy())?;
        let turn = self.turn.clone().acquire_owned().await.map_err(Error::internal)?;
        tokio::task::spawn_blocking(move || {
            let done = work();
            // Held here, so that a caller who goes away does not let the next one in before this one is done.
            drop(turn);
            done
        })
        .await
        .map_err(Error::internal)
    }
}

fn argon2() -> Result<Argon2<'static>, Error> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(Error::internal)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn busy() -> Error {
    Error::new(
        Code::AtCapacity,
        "Too many passwords are being checked at this moment. Try again in a few seconds.",
    )
    .with_retry_after(Duration::from_secs(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hash_knows_its_password_and_no_other() {
        let hasher = Hasher::default();
        let hash = hasher.hash("correct horse".to_owned()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(
            hasher
                .verify("correct horse".to_owned(), Some(hash.clone()))
                .await
                .unwrap()
        );
        assert!(
            !hasher
                .verify("correct horsf".to_owned(), Some(hash.clone()))
                .await
                .unwrap()
        );
        assert!(!hasher.verify("correct horse".to_owned(), None).await.unwrap());
        assert_ne!(
            hasher.hash("correct horse".to_owned()).await.unwrap(),
            hash,
            "each has its own salt"
        );
    }

    #[tokio::test]
    async fn a_flood_is_sent_away_instead_of_queued() {
        let hasher = Hasher::default();
        let flood = (0..WAITING * 3).map(|_| hasher.verify("guess".to_owned(), None));
        let answers = futures_util::future::join_all(flood).await;
        let refused = answers.iter().filter(|answer| answer.is_err()).count();
        assert_eq!(refused, WAITING * 2, "the rest waited and was checked");
        let refusal = answers.into_iter().find_map(Result::err).unwrap();
        assert_eq!(refusal.code, Code::AtCapacity);
    }
}
