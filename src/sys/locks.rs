//! Who holds a lock on a file, without touching the lock.
//!
//! Trying the lock would tell the same, and would make a server fail that starts in the same moment.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::process;

/// How a file's lock stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lock {
    /// Nobody that this system tells of holds it.
    Free,
    /// This process holds it.
    Held {
        /// Its number.
        pid: u32,
    },
    /// The system does not tell.
    Unknown,
}

/// The lock of a whole file (`flock`) as the kernel lists it.
pub fn of(path: &Path) -> Lock {
    let (Ok(table), Ok(file)) = (std::fs::read_to_string("/proc/locks"), std::fs::metadata(path)) else {
        return Lock::Unknown;
    };
    let device = (rustix::fs::major(file.dev()), rustix::fs::minor(file.dev()));
    for (pid, on, inode) in table.lines().filter_map(parse) {
        // Some file systems show another device here than to whoever asks the file itself, so the holder is asked.
        if inode == file.ino() && (on == device || has_open(pid, &file)) {
            return Lock::Held { pid };
        }
    }
    Lock::Free
}

/// `1: FLOCK  ADVISORY  WRITE 8900 fe:00:10280964 0 EOF`: process, device, inode. Who merely waits has an arrow.
fn parse(line: &str) -> Option<(u32, (u32, u32), u64)> {
    let mut fields = line.split_whitespace().skip(1);
    if fields.next()? != "FLOCK" {
        return None;
    }
    let pid = fields.nth(2)?.parse().ok()?;
    let mut place = fields.next()?.split(':');
    let mut hexadecimal = || u32::from_str_radix(place.next()?, 16).ok();
    let device = (hexadecimal()?, hexadecimal()?);
    Some((pid, device, place.next()?.parse().ok()?))
}

/// Whether a process has this very file open; of another user's process only its name is known.
fn has_open(pid: u32, file: &Metadata) -> bool {
    let Ok(open) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
        return process::name(pid).is_some_and(|name| name.starts_with("whatisup"));
    };
    open.flatten()
        .filter_map(|entry| std::fs::metadata(entry.path()).ok())
        .any(|other| other.dev() == file.dev() && other.ino() == file.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_list_is_read_and_waiting_or_other_locks_are_passed_over() {
        assert_eq!(
            parse("1: FLOCK  ADVISORY  WRITE 8900 fe:0a:10280964 0 EOF"),
            Some((8900, (0xfe, 0x0a), 10_280_964))
        );
        for line in [
            "1: -> FLOCK  ADVISORY  WRITE 8900 fe:00:1 0 EOF",
            "2: OFDLCK ADVISORY  WRITE -1 fe:00:1 0 EOF",
            "3: POSIX  ADVISORY  WRITE 17 fe:00:1 0 EOF",
            "4: FLOCK  ADVISORY  WRITE -1 fe:00:1 0 EOF",
            "",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_lock_is_seen_while_it_is_held_and_not_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let file = std::fs::File::create(&path).unwrap();
        assert_eq!(of(&path), Lock::Free);
        file.lock().unwrap();
        assert_eq!(
            of(&path),
            Lock::Held {
                pid: std::process::id()
            }
        );
        drop(file);
        assert_eq!(of(&path), Lock::Free);
        assert_eq!(of(&folder.path().join("nothing")), Lock::Unknown);
    }
}
