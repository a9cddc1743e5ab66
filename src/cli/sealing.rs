//! Backups under a passphrase, in the format of age: `age --decrypt` opens them as well.

use std::io::{self, BufReader, IsTerminal as _, Read, Write};
use std::iter;
use std::path::Path;

use age::secrecy::SecretString;
use age::stream::StreamWriter;
use age::{DecryptError, Decryptor, Encryptor, scrypt};

use super::failure::Failure;
use super::prompt::typed;
use crate::sys::secret::{self, Secret};

/// Names a file with the passphrase.
const VARIABLE: &str = "WHATISUP_BACKUP_PASSPHRASE_FILE";

/// Would hold the passphrase itself.
const EXPOSED: &str = "WHATISUP_BACKUP_PASSPHRASE";

/// How much work a guess at the passphrase is: 64 MiB, where the age command takes 256. A machine of 512 MiB must be able
/// to do it while the gateway runs. In a sandbox there is nothing to guard, and its tests should not take minutes.
const WORK: u8 = if cfg!(feature = "sandbox") { 12 } else { 16 };

/// The most that somebody else's file may ask of this machine: 1 GiB, four times what the age command does.
const MOST_WORK: u8 = 20;

/// How every file of age begins.
const BEGINNING: &[u8] = b"age-encryption.org/";

/// The passphrase by flag or environment.
pub(super) fn given(file: Option<&Path>) -> Result<Option<Secret>, Failure> {
    if std::env::var_os(EXPOSED).is_some() {
        return Err(Failure::Usage(format!(
            "{EXPOSED}: a passphrase is not read from the environment; put it into a file and name that with {VARIABLE} or --passphrase-file"
        )));
    }
    let named = std::env::var_os(VARIABLE).filter(|path| !path.is_empty());
    let path = file.or(named.as_deref().map(Path::new));
    path.map(|path| secret::read(path).map_err(|problem| Failure::Usage(format!("the passphrase: {problem}"))))
        .transpose()
}

/// The passphrase for a new backup, from a person who types it twice.
pub(super) async fn chosen() -> Result<Secret, Failure> {
    require_terminal()?;
    let first = typed("Passphrase for the backup, not shown: ").await?;
    if first.trim().is_empty() {
        return Err(Failure::failed("a passphrase must not be empty; nothing was written"));
    }
    if typed("Once more: ").await? != first {
        return Err(Failure::failed(
            "these were two different passphrases; nothing was written",
        ));
    }
    Ok(Secret::new(first.trim()))
}

/// The passphrase of a backup that is there.
pub(super) async fn asked() -> Result<Secret, Failure> {
    require_terminal()?;
    let typed = typed("Passphrase of the backup, not shown: ").await?;
    Ok(Secret::new(typed.trim()))
}

fn require_terminal() -> Result<(), Failure> {
    if io::stdin().is_terminal() {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "there is no terminal to ask for the passphrase; name a file that holds it with --passphrase-file or {VARIABLE}"
    )))
}

/// A writer that encrypts, if there is a passphrase.
pub(super) enum Sealing<W: Write> {
    Plain(W),
    Sealed(Box<StreamWriter<W>>),
}

impl<W: Write> Sealing<W> {
    pub(super) fn new(out: W, passphrase: Option<&Secret>) -> io::Result<Self> {
        let Some(passphrase) = passphrase else {
            return Ok(Self::Plain(out));
        };
        let mut recipient = scrypt::Recipient::new(secret_string(passphrase));
        recipient.set_work_factor(WORK);
        let encryptor = Encryptor::with_recipients(iter::once(&recipient as _)).map_err(io::Error::other)?;
        Ok(Self::Sealed(Box::new(encryptor.wrap_output(out)?)))
    }

    /// Writes what is left and gives the writer below back.
    pub(super) fn finish(self) -> io::Result<W> {
        match self {
            Self::Plain(out) => Ok(out),
            Self::Sealed(out) => out.finish(),
        }
    }
}

impl<W: Write> Write for Sealing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            Self::Sealed(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(out) => out.flush(),
            Self::Sealed(out) => out.flush(),
        }
    }
}

/// Something whose beginning was looked at, from its beginning.
pub(super) type Looked<R> = io::Chain<io::Cursor<Vec<u8>>, R>;

/// Looks at the beginning: whether this is encrypted.
pub(super) fn look<R: Read>(mut reader: R) -> io::Result<(bool, Looked<R>)> {
    let mut beginning = Vec::new();
    reader
        .by_ref()
        .take(BEGINNING.len() as u64)
        .read_to_end(&mut beginning)?;
    let is_sealed = beginning == BEGINNING;
    Ok((is_sealed, io::Cursor::new(beginning).chain(reader)))
}

/// Decrypts; what was changed on the way is an error of a later read.
pub(super) fn unseal<'a>(reader: impl Read + 'a, passphrase: &Secret) -> Result<Box<dyn Read + 'a>, Failure> {
    let mut identity = scrypt::Identity::new(secret_string(passphrase));
    identity.set_max_work_factor(MOST_WORK);
    let opened = Decryptor::new_buffered(BufReader::new(reader))
        .and_then(|decryptor| decryptor.decrypt(iter::once(&identity as _)))
        .map_err(|error| Failure::Failed(refusal(error)))?;
    Ok(Box::new(opened))
}

/// Why something encrypted cannot be opened. A wrong passphrase and a header that was tampered with look different here.
fn refusal(error: DecryptError) -> String {
    match error {
        DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed => "the passphrase is wrong".into(),
        DecryptError::ExcessiveWork { required, .. } => format!(
            "the passphrase of this file takes 2^{required} steps to check, and no more than 2^{MOST_WORK} are done for a file; no backup of WhatIsUp asks for more"
        ),
        DecryptError::NoMatchingKeys => {
            "this file is encrypted to a key, not with a passphrase; decrypt it with age and restore what comes out"
                .into()
        }
        DecryptError::InvalidMac => "the backup is damaged: its first lines are not those that were written".into(),
        DecryptError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => "the backup is cut off".into(),
        DecryptError::Io(error) => format!("the backup cannot be read: {error}"),
        _ => "the backup is damaged, or encrypted in a way that this version does not know".into(),
    }
}

fn secret_string(secret: &Secret) -> SecretString {
    SecretString::from(secret.expose().to_owned())
}
