//! A file that gets its name once it is whole.
//!
//! Until then it has none where the file system can do that (`O_TMPFILE`), and is gone however its writer ends.
//! Elsewhere, on NFS or FAT, it lies hidden beside its place, and stays there when its writer is killed.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, openat};

/// A file without its name. Dropping it leaves nothing.
pub struct Draft {
    file: File,
    /// Where it lies; `None` when it lies nowhere.
    hidden: Option<PathBuf>,
    folder: PathBuf,
    target: PathBuf,
}

impl Draft {
    /// To become `target`, for this user alone; `None` when the path has no last part.
    pub fn of(target: &Path) -> Option<io::Result<Self>> {
        target.file_name()?;
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or_else(|| Path::new("."));
        Some(match nameless(folder) {
            Some(file) => Ok(Self::new(file, None, folder, target)),
            None => Self::hidden(folder, target),
        })
    }

    fn new(file: File, hidden: Option<PathBuf>, folder: &Path, target: &Path) -> Self {
        Self {
            file,
            hidden,
            folder: folder.to_owned(),
            target: target.to_owned(),
        }
    }

    fn hidden(folder: &Path, target: &Path) -> io::Result<Self> {
        let path = hidden_path(folder, target);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        Ok(Self::new(file, Some(path), folder, target))
    }

    /// What is written to.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Gives it its name, on the disk for good. Without `replace` a name that is taken is an error of that kind.
    pub fn keep(mut self, replace: bool) -> io::Result<()> {
        self.file.sync_all()?;
        if let Some(path) = &self.hidden {
            put(path, &self.target, replace)?;
            // It has moved, or is to lose its other name.
            if !replace {
                let _ = fs::remove_file(path);
            }
        } else if replace {
            // A link never replaces, so it moves there from a name of its own.
            let path = hidden_path(&self.folder, &self.target);
            link(&self.file, &path)?;
            self.hidden = Some(path.clone());
            fs::rename(&path, &self.target)?;
        } else {
            link(&self.file, &self.target)?;
        }
        self.hidden = None;
        File::open(&self.folder)?.sync_all()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(path) = &self.hidden {
            // It may be gone already.
            let _ = fs::remove_file(path);
        }
    }
}

fn hidden_path(folder: &Path, target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    folder.join(format!(".{name}.{}.part", hex::encode(rand::random::<[u8; 4]>())))
}

/// A file in the folder's file system that has no name and can be given one.
fn nameless(folder: &Path) -> Option<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = File::from(openat(CWD, folder, flags, Mode::RUSR | Mode::WUSR).ok()?);
    through_proc(&file).exists().then_some(file)
}

/// The way to name it that needs no privilege; see open(2) about `O_TMPFILE`.
fn through_proc(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

fn link(file: &File, to: &Path) -> io::Result<()> {
    Ok(linkat(CWD, through_proc(file), CWD, to, AtFlags::SYMLINK_FOLLOW)?)
}

fn put(from: &Path, to: &Path, replace: bool) -> io::Result<()> {
    if replace {
        return fs::rename(from, to);
    }
    match fs::hard_link(from, to) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            // Where there are no links, as on FAT; the name was free when the writer began.
            if to.symlink_metadata().is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            fs::rename(from, to)
        }
        linked => linked,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    type Make = fn(&Path, &Path) -> Draft;

    const KINDS: [Make; 2] = [
        |_, target| Draft::of(target).unwrap().unwrap(),
        |folder, target| Draft::hidden(folder, target).unwrap(),
    ];

    fn files(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn it_has_its_name_when_it_is_kept_and_never_replaces_unasked() {
        for make in KINDS {
            let folder = tempfile::tempdir().unwrap();
            let folder = folder.path();
            let target = folder.join("backup");
            let draft = make(folder, &target);
            draft.file().write_all(b"one").unwrap();
            assert!(!target.exists());
            draft.keep(false).unwrap();
            assert_eq!(fs::read_to_string(&target).unwrap(), "one");
            assert_eq!(target.metadata().unwrap().permissions().mode() & 0o777, 0o600);

            let draft = make(folder, &target);
            draft.file().write_all(b"two").unwrap();
            let taken = draft.keep(false).unwrap_err();
            assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
            assert_eq!(fs::read_to_string(&target).unwrap(), "one");

            let draft = make(folder, &target);
            draft.file().write_all(b"three").unwrap();
            draft.keep(true).unwrap();
            assert_eq!(fs::read_to_string(&target).unwrap(), "three");
            assert_eq!(files(folder), 1, "nothing else lies there");
        }
    }

    #[test]
    fn dropping_it_leaves_nothing() {
        for make in KINDS {
            let folder = tempfile::tempdir().unwrap();
            drop(make(folder.path(), &folder.path().join("backup")));
            assert_eq!(files(folder.path()), 0);
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_told() {
        let missing = Draft::of(Path::new("/nowhere/at/all")).unwrap().err().unwrap();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        assert!(Draft::of(Path::new("/")).is_none());
    }
}
