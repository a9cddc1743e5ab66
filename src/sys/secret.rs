//! Secrets in files of their own: mode 0600, written in one step, never in a log.

use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, Serializer};

/// A text that must not be shown; its debug and serialised forms are a mask.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

/// What is shown in place of a secret.
pub const MASK: &str = "********";

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself; the name is meant to be found by whoever reviews where secrets go.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

/// A secret's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretProblem {
    /// The operating system says no.
    #[error("the file {} cannot be used: {source}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Longer than any secret, so it is the wrong file.
    #[error("the file {} is larger than {LARGEST_FILE} bytes, so it is not a secret", .0.display())]
    TooLarge(PathBuf),
    /// Nothing inside.
    #[error("the file {} is empty", .0.display())]
    Empty(PathBuf),
    /// Not the form that is wanted.
    #[error("the file {} must hold 64 hexadecimal digits; restore it from a backup", .0.display())]
    NotAKey(PathBuf),
}

/// The largest file that is taken for a secret.
const LARGEST_FILE: u64 = 4096;

/// Reads a secret from its file; a line break at the end, which every editor adds, is not part of it.
pub fn read(path: &Path) -> Result<Secret, SecretProblem> {
    let failed = |source| SecretProblem::Io {
        path: path.to_owned(),
        source,
    };
    let file = fs::File::open(path).map_err(failed)?;
    let mut text = String::new();
    file.take(LARGEST_FILE + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > LARGEST_FILE {
        return Err(SecretProblem::TooLarge(path.to_owned()));
    }
    match text.trim() {
        "" => Err(SecretProblem::Empty(path.to_owned())),
        text => Ok(Secret::new(text)),
    }
}

/// Whether others than its owner may read the file.
pub fn is_exposed(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o077 != 0)
}

/// Writes a secret to a new file: complete or not at all, and never over one that is there.
pub fn create(path: &Path, secret: &Secret) -> io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let draft = folder.join(format!(
        ".{}.{}",
        path.file_name().unwrap_or_default().to_string_lossy(),
        hex::encode(rand::random::<[u8; 8]>())
    ));
    let written = write_new(&draft, secret).and_then(|()| match fs::hard_link(&draft, path) {
        // Some file systems know no hard links; there a crash may leave half a file, which reading then refuses.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied
            ) =>
        {
            write_new(path, secret)
        }
        linked => linked,
    });
    let removed = fs::remove_file(&draft);
    written?;
    removed?;
    fs::File::open(folder)?.sync_all()
}

fn write_new(path: &Path, secret: &Secret) -> io::Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    writeln!(file, "{}", secret.expose())?;
    file.sync_all()
}

/// 32 random bytes in a file of their own: the pepper, without which no API key works any more, or the key that seals
/// the signing secrets of webhooks.
#[derive(Clone, PartialEq, Eq)]
pub struct RandomKey([u8; 32]);

impl RandomKey {
    /// The bytes.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads 64 hexadecimal digits; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.trim(), &mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// Reads it from its file; `None` when there is no such file.
    pub fn read(path: &Path) -> Result<Option<Self>, SecretProblem> {
        match read(path) {
            Ok(text) => match Self::parse(text.expose()) {
                Some(key) => Ok(Some(key)),
                None => Err(SecretProblem::NotAKey(path.to_owned())),
            },
            Err(SecretProblem::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(problem) => Err(problem),
        }
    }

    /// Makes a new one and keeps it at `path`; of two that try at once, both get the same.
    pub fn create(path: &Path) -> Result<Self, SecretProblem> {
        let failed = |source| SecretProblem::Io {
            path: path.to_owned(),
            source,
        };
        let key = Self(rand::random());
        match create(path, &Secret::new(hex::encode(key.0))) {
            Ok(()) => Ok(key),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Self::read(path)?.ok_or_else(|| failed(error))
            }
            Err(error) => Err(failed(error)),
        }
    }
}

impl fmt::Debug for RandomKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_itself_neither_in_debug_output_nor_serialised() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?}"), MASK);
        assert_eq!(serde_json::to_string(&secret).unwrap(), format!("\"{MASK}\""));
        assert_eq!(format!("{:?}", RandomKey([7; 32])), MASK);
    }

    #[test]
    fn a_secret_is_read_without_its_line_break() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "zpk_live_x\r\n").unwrap();
        assert_eq!(read(&path).unwrap().expose(), "zpk_live_x");
        fs::write(&path, " \n").unwrap();
        assert!(matches!(read(&path), Err(SecretProblem::Empty(_))));
        fs::write(&path, "x".repeat(5000)).unwrap();
        assert!(matches!(read(&path), Err(SecretProblem::TooLarge(_))));
    }

    #[test]
    fn a_new_pepper_is_readable_by_its_owner_alone_and_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pepper");
        assert_eq!(RandomKey::read(&path).unwrap(), None);
        let made = RandomKey::create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(RandomKey::read(&path).unwrap(), Some(made));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the draft is gone");
    }

    #[test]
    fn a_pepper_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pepper");
        let first = RandomKey::create(&path).unwrap();
        assert_eq!(RandomKey::create(&path).unwrap(), first);
    }

    #[test]
    fn a_damaged_pepper_is_refused_rather_than_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pepper");
        fs::write(&path, "abc").unwrap();
        assert!(matches!(RandomKey::read(&path), Err(SecretProblem::NotAKey(_))));
    }
}
