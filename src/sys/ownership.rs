//! What root's commands leave behind in a state folder that belongs to another user.
//!
//! The service runs as a user of its own. When root makes a key while it is stopped, the files that come to be must be
//! that user's, or the service cannot read its own state at the next start.
//!
//! Whoever the folder belongs to may be a program that was taken over, so root must not be led out of the folder: it
//! does not work in one that has symbolic links, it follows none, and it gives away only what lies there under a single
//! name. Otherwise a link to some file of root's, put there in time, would turn into a gift of that file.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Uid, chownat, fstat, openat};

/// How deep folders in a state folder may lie inside each other.
const DEEPEST: usize = 4;

/// Why root does not work in a folder of another user, or could not give back what it made there.
#[derive(Debug, thiserror::Error)]
pub enum OwnershipProblem {
    /// A link, through which root would read or write elsewhere.
    #[error(
        "{} is a symbolic link, and root does not follow one in a folder of another user (uid {owner}): remove it, or run \
         this as that user", .path.display()
    )]
    Link {
        /// Which.
        path: PathBuf,
        /// Whose folder it is.
        owner: u32,
    },
    /// The operating system says no.
    #[error(
        "{} cannot be given to the folder's owner (uid {owner}): {source}; do it with chown, or the service cannot read it",
        .path.display()
    )]
    Io {
        /// Which.
        path: PathBuf,
        /// Whose folder it is.
        owner: u32,
        /// Why.
        source: io::Error,
    },
}

/// A folder of another user in which root works. What root made there is the owner's when this is dropped at the latest.
#[derive(Debug)]
pub struct Handover {
    path: PathBuf,
    owner: u32,
    group: u32,
}

impl Handover {
    /// To be held while files may be made in `folder`; `None` when whoever runs this owns it, or is not root.
    pub fn of(folder: &Path) -> Result<Option<Self>, OwnershipProblem> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let Ok(metadata) = fs::metadata(folder) else {
            return Ok(None);
        };
        if metadata.uid() == 0 || !metadata.is_dir() {
            return Ok(None);
        }
        let handover = Self {
            path: folder.to_owned(),
            owner: metadata.uid(),
            group: metadata.gid(),
        };
        handover.walk(&mut |_, _, kind, path| match kind {
            FileType::Symlink => Err(OwnershipProblem::Link {
                path: path.to_owned(),
                owner: handover.owner,
            }),
            _ => Ok(()),
        })?;
        Ok(Some(handover))
    }

    /// Gives what is root's in the folder to the folder's owner.
    pub fn give_back(&self) -> Result<(), OwnershipProblem> {
        self.walk(&mut |folder, name, _, path| self.give(folder, name).map_err(|source| self.failed(path, source)))
    }

    fn give(&self, folder: &OwnedFd, name: &std::ffi::CStr) -> io::Result<()> {
        // The file itself, whatever happens to its name from here on.
        let found = openat(
            folder,
            name,
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let about = fstat(&found)?;
        let kind = FileType::from_raw_mode(about.st_mode);
        let single = kind == FileType::Directory || about.st_nlink == 1;
        if about.st_uid != 0 || !single || kind == FileType::Symlink {
            return Ok(());
        }
        let (owner, group) = (Uid::from_raw(self.owner), Gid::from_raw(self.group));
        Ok(chownat(&found, c"", Some(owner), Some(group), AtFlags::EMPTY_PATH)?)
    }

    fn walk(&self, visit: &mut Visit<'_>) -> Result<(), OwnershipProblem> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = openat(rustix::fs::CWD, &self.path, flags, Mode::empty());
        let folder = opened.map_err(|source| self.failed(&self.path, source.into()))?;
        self.walk_in(&folder, &self.path, DEEPEST, visit)
    }

    fn walk_in(
        &self,
        folder: &OwnedFd,
        path: &Path,
        depth: usize,
        visit: &mut Visit<'_>,
    ) -> Result<(), OwnershipProblem> {
        use std::os::unix::ffi::OsStrExt as _;
        let entries = Dir::read_from(folder).map_err(|source| self.failed(path, source.into()))?;
        for entry in entries {
            let entry = entry.map_err(|source| self.failed(path, source.into()))?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let place = path.join(std::ffi::OsStr::from_bytes(name.to_bytes()));
            // The entry's own word for its kind may be missing on some file systems.
            let about = match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(about) => about,
                Err(rustix::io::Errno::NOENT) => continue,
                Err(source) => return Err(self.failed(&place, source.into())),
            };
            let kind = FileType::from_raw_mode(about.st_mode);
            visit(folder, name, kind, &place)?;
            if kind == FileType::Directory && depth > 0 {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let inner = openat(folder, name, flags, Mode::empty());
                let inner = inner.map_err(|source| self.failed(&place, source.into()))?;
                self.walk_in(&inner, &place, depth - 1, visit)?;
            }
        }
        Ok(())
    }

    fn failed(&self, path: &Path, source: io::Error) -> OwnershipProblem {
        OwnershipProblem::Io {
            path: path.to_owned(),
            owner: self.owner,
            source,
        }
    }
}

/// Is told the folder, the name in it, the kind, and the path for a sentence.
type Visit<'a> = dyn FnMut(&OwnedFd, &std::ffi::CStr, FileType, &Path) -> Result<(), OwnershipProblem> + 'a;

impl Drop for Handover {
    fn drop(&mut self) {
        // The last resort, for a command that failed half-way and says so itself.
        let _ = self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    const STRANGER: u32 = 12_345;

    /// A folder of a stranger's; `None` where this is not root and there is nothing to try.
    fn strangers_folder() -> Option<tempfile::TempDir> {
        let folder = tempfile::tempdir().unwrap();
        if !rustix::process::geteuid().is_root() {
            assert!(Handover::of(folder.path()).unwrap().is_none());
            return None;
        }
        chown(folder.path(), Some(STRANGER), Some(STRANGER)).unwrap();
        Some(folder)
    }

    fn owner(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().uid()
    }

    #[test]
    fn what_root_makes_in_a_strangers_folder_is_the_strangers_at_the_end() {
        let Some(folder) = strangers_folder() else { return };
        let handover = Handover::of(folder.path()).unwrap().unwrap();
        let deep = folder.path().join("copies/of");
        fs::create_dir_all(&deep).unwrap();
        for path in [folder.path().join("pepper"), deep.join("store")] {
            fs::write(&path, "x").unwrap();
        }
        drop(handover);
        for name in ["pepper", "copies", "copies/of", "copies/of/store"] {
            assert_eq!(owner(&folder.path().join(name)), STRANGER, "{name}");
        }
    }

    #[test]
    fn a_folder_of_ones_own_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Handover::of(folder.path()).unwrap().is_none());
        assert!(Handover::of(&folder.path().join("nowhere")).unwrap().is_none());
    }

    #[test]
    fn root_does_not_work_where_a_stranger_has_put_a_link() {
        let Some(folder) = strangers_folder() else { return };
        let precious = tempfile::NamedTempFile::new().unwrap();
        fs::create_dir(folder.path().join("deep")).unwrap();
        symlink(precious.path(), folder.path().join("deep/store.redb")).unwrap();
        let problem = Handover::of(folder.path()).unwrap_err().to_string();
        assert!(
            problem.contains("deep/store.redb is a symbolic link") && problem.contains("12345"),
            "{problem}"
        );
        assert_eq!(owner(precious.path()), 0);
    }

    #[test]
    fn neither_a_link_nor_a_second_name_of_a_file_of_roots_is_given_away() {
        let Some(folder) = strangers_folder() else { return };
        let handover = Handover::of(folder.path()).unwrap().unwrap();
        // Put there after the look: what a program does that waits for root to come.
        let outside = tempfile::tempdir().unwrap();
        let precious = outside.path().join("shadow");
        fs::write(&precious, "x").unwrap();
        symlink(&precious, folder.path().join("link")).unwrap();
        fs::hard_link(&precious, folder.path().join("name")).unwrap();
        symlink(outside.path(), folder.path().join("folder")).unwrap();
        handover.give_back().unwrap();
        assert_eq!(owner(&precious), 0);
        assert_eq!(owner(outside.path()), 0);
        assert_eq!(owner(&folder.path().join("link")), 0);
    }
}
