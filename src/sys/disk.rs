//! What files take, and what the file system has left.

use std::io;
use std::path::Path;

/// The file system behind a path, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    /// What an ordinary user may still take, which is less than what is free.
    pub free: u64,
    /// Its size.
    pub total: u64,
}

/// What else can be wrong with a file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Traits {
    /// Whether it takes no writes at all.
    pub read_only: bool,
    /// How many files it may have and how many more; `None` where there is no such limit.
    pub files: Option<(u64, u64)>,
}

/// Asks the file system; `None` where it does not say.
pub fn traits(path: &Path) -> Option<Traits> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some(Traits {
        read_only: stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY),
        files: (stat.f_files > 0).then_some((stat.f_files, stat.f_favail)),
    })
}

/// Asks the file system; `None` where it does not say.
pub fn space(path: &Path) -> Option<Space> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some(Space {
        free: stat.f_bavail.checked_mul(stat.f_frsize)?,
        total: stat.f_blocks.checked_mul(stat.f_frsize)?,
    })
}

/// Bytes of all files below a folder; links are not followed, and what vanishes meanwhile is not counted.
pub fn folder_bytes(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let Ok((entry, meta)) = entry.and_then(|entry| entry.metadata().map(|meta| (entry, meta))) else {
            continue;
        };
        bytes += if meta.is_dir() {
            folder_bytes(&entry.path()).unwrap_or(0)
        } else {
            meta.len()
        };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_as_large_as_the_files_below_it() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(folder.path().join("a"), [0; 10]).unwrap();
        std::fs::write(inner.join("b"), [0; 5]).unwrap();
        std::os::unix::fs::symlink(folder.path(), inner.join("loop")).unwrap();
        let link = folder.path().as_os_str().len() as u64;
        assert_eq!(folder_bytes(folder.path()).unwrap(), 15 + link);
        let space = space(folder.path()).unwrap();
        assert!(space.free <= space.total && space.total > 0);
    }
}
