//! The machine: its disk, its memory, its clock, how many files a program may open.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::context::Context;
use super::super::state::store_path;
use super::check::{Check, size};
use crate::domain::Timestamp;
use crate::sys::disk::{self, Space, Traits};
use crate::sys::mounts::{self, Mount};
use crate::sys::process;

/// Less free memory than this, and the next busy minute may end the server.
const LITTLE_MEMORY: u64 = 100 << 20;

/// Files beside connections and sessions: the store, the log, the sockets it listens on, name servers.
const OTHER_FILES: u64 = 64;

/// File systems over the network, where a lock may be a promise that nobody keeps.
const NETWORK: [&str; 16] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "ceph",
    "afs",
    "lustre",
    "glusterfs",
    "ocfs2",
    "vboxsf",
    "drvfs",
    "fuse.sshfs",
    "fuse.glusterfs",
    "fuse.rclone",
];

/// A clock this far off is worth setting …
const ODD: Duration = Duration::from_secs(30);

/// … and this far off, certificates, pairing and stamps of messages go wrong.
const WRONG: Duration = Duration::from_mins(5);

/// No clock that is right says less: this program did not exist before.
const EARLIEST: Timestamp = Timestamp::from_seconds(1_767_225_600);

/// Nor more: certificates of this century end before.
const LATEST: Timestamp = Timestamp::from_seconds(4_102_444_800);

/// What the disk check looks at.
struct Figures {
    space: Option<Space>,
    traits: Option<Traits>,
    mount: Option<Mount>,
    store_bytes: u64,
    reserve_bytes: u64,
}

/// The disk behind the state folder, or behind where it will be made.
pub(super) fn disk(context: &Context) -> Check {
    let Some(there) = nearest(&context.state) else {
        return Check::skipped("disk", "the place of the state folder cannot be looked at");
    };
    judge_disk(&Figures {
        space: disk::space(&there),
        traits: disk::traits(&there),
        mount: mounts::behind(&there),
        store_bytes: std::fs::metadata(store_path(&context.state)).map_or(0, |file| file.len()),
        reserve_bytes: context.config().store.reserve_bytes,
    })
}

/// The folder itself, or the nearest one above it that is there.
pub(super) fn nearest(folder: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(folder).ok()?;
    absolute.ancestors().find(|path| path.exists()).map(Path::to_owned)
}

fn judge_disk(figures: &Figures) -> Check {
    const NAME: &str = "disk";
    let Some(space) = figures.space else {
        return Check::skipped(NAME, "the file system does not say how much it has left");
    };
    let kind = figures.mount.as_ref().map(|mount| mount.kind.as_str());
    let found = format!(
        "{} of {} free{}",
        size(space.free),
        size(space.total),
        kind.map(|kind| format!(" on {kind}")).unwrap_or_default()
    );
    let more = "free some space, or move the state folder to a larger disk";
    if figures.traits.is_some_and(|traits| traits.read_only) {
        let advice = "look at the system's log for errors of this disk, then mount it writable";
        return Check::fail(NAME, format!("{found}, mounted read-only"), advice);
    }
    if space.free < figures.reserve_bytes {
        let reserve = size(figures.reserve_bytes);
        return Check::fail(
            NAME,
            format!("{found}, less than store.reserve_bytes ({reserve}): everything that writes is refused"),
            more,
        );
    }
    let files = figures.traits.and_then(|traits| traits.files);
    if let Some((_, 0)) = files {
        return Check::fail(
            NAME,
            format!("{found}, but no file can be made (inodes)"),
            "delete some files",
        );
    }
    if let Some(kind) = kind.filter(|kind| NETWORK.contains(kind)) {
        return Check::warn(
            NAME,
            format!("{found}: a file system over the network ({kind}), whose locks and syncs may not hold"),
            "keep the state folder on a disk of this machine; two servers on one store destroy each other's sessions",
        );
    }
    match kind {
        Some("tmpfs" | "ramfs") => {
            let advice = "move the state folder to a disk: links to WhatsApp are lost with it";
            return Check::warn(
                NAME,
                format!("{found}: memory, which is empty after the next boot"),
                advice,
            );
        }
        Some("overlay" | "aufs") => {
            let advice = "mount a volume for the state folder: links to WhatsApp are lost with the container";
            return Check::warn(
                NAME,
                format!("{found}: the container's own layer, which goes with it"),
                advice,
            );
        }
        _ => {}
    }
    if let Some((all, left)) = files
        && left < 1_000
        && left < all / 100
    {
        return Check::warn(
            NAME,
            format!("{found}, but only {left} more files (inodes)"),
            "delete some files",
        );
    }
    if space.free < figures.reserve_bytes.saturating_mul(2) {
        let reserve = size(figures.reserve_bytes);
        return Check::warn(
            NAME,
            format!("{found}; below {reserve} everything that writes is refused"),
            more,
        );
    }
    if space.free - figures.reserve_bytes < figures.store_bytes {
        let store = size(figures.store_bytes);
        return Check::warn(
            NAME,
            format!("{found}, not enough for a copy of the store ({store})"),
            more,
        );
    }
    Check::ok(NAME, found)
}

/// Memory that is left.
pub(super) fn memory() -> Check {
    judge_memory(process::available_memory())
}

fn judge_memory(available: Option<u64>) -> Check {
    const NAME: &str = "memory";
    match available {
        None => Check::skipped(NAME, "the system does not say how much is left"),
        Some(bytes) if bytes < LITTLE_MEMORY => Check::warn(
            NAME,
            format!("only {} available", size(bytes)),
            "end what is not needed, add swap, or give this machine or container more",
        ),
        Some(bytes) => Check::ok(NAME, format!("{} available", size(bytes))),
    }
}

/// How many files the server may open, or one that is started here, which allows itself all it can.
pub(super) fn file_limits(context: &Context, server: Option<u32>) -> Check {
    let limits = &context.config().limits;
    let wanted = u64::from(limits.max_connections) + u64::from(limits.max_instances) + OTHER_FILES;
    let (limit, whose) = match server.and_then(process::open_files_limit) {
        Some(limit) => (limit, "the server"),
        None => (process::open_files_ceiling(), "a server started here"),
    };
    judge_file_limits(limit, wanted, whose)
}

fn judge_file_limits(limit: u64, wanted: u64, whose: &str) -> Check {
    const NAME: &str = "file_limits";
    match limit {
        limit if limit < wanted => Check::warn(
            NAME,
            format!(
                "{whose} may open {limit} files; limits.max_connections and limits.max_instances together may want {wanted}"
            ),
            format!(
                "LimitNOFILE={wanted} in the unit, `ulimit -n {wanted}` as root before it starts, or smaller limits"
            ),
        ),
        u64::MAX => Check::ok(NAME, format!("{whose} may open any number of files")),
        limit => Check::ok(
            NAME,
            format!("{whose} may open {limit} files, at most {wanted} are wanted"),
        ),
    }
}

/// What is known of the clock.
pub(super) struct Times {
    /// What it says.
    pub now: Timestamp,
    /// By how much civil and monotonic time drifted apart while this command ran.
    pub stepped: Duration,
    /// Another machine's time, ours in that moment, and whose it is.
    pub other: Option<(Timestamp, Timestamp, String)>,
}

/// Whether the clock can be believed.
pub(super) fn clock(times: &Times) -> Check {
    const NAME: &str = "clock";
    const ADVICE: &str = "set the clock and keep it right with NTP: timedatectl set-ntp true";
    let now = times.now;
    if now < EARLIEST || now > LATEST {
        let found = format!("it says {now}, which cannot be: certificates and pairing fail");
        return Check::fail(NAME, found, ADVICE);
    }
    if let Some((theirs, ours, host)) = &times.other {
        let (ahead, behind) = (ours.since(*theirs), theirs.since(*ours));
        let off = ahead.max(behind);
        let found = match (ahead.as_secs(), behind.as_secs()) {
            // `Date` has whole seconds.
            (0 | 1, 0 | 1) => format!("{now}, as {host} says"),
            (0, seconds) => format!("{now}, {seconds} s behind {host}"),
            (seconds, _) => format!("{now}, {seconds} s ahead of {host}"),
        };
        if off > WRONG {
            return Check::fail(
                NAME,
                format!("{found}: pairing and certificates fail with that"),
                ADVICE,
            );
        }
        if off > ODD {
            return Check::warn(NAME, found, ADVICE);
        }
        return judge_step(times, found);
    }
    judge_step(times, format!("{now}; compared with nobody"))
}

fn judge_step(times: &Times, found: String) -> Check {
    const NAME: &str = "clock";
    if times.stepped > Duration::from_secs(1) {
        return Check::warn(
            NAME,
            format!(
                "{found}; it was set by {} s while this command ran",
                times.stepped.as_secs()
            ),
            "find out what sets it; one time service is enough, and it should slew rather than jump",
        );
    }
    Check::ok(NAME, found)
}

#[cfg(test)]
mod tests {
    use super::super::check::Status;
    use super::*;

    const MB: u64 = 1_000_000;

    #[test]
    fn a_disk_is_judged_by_its_space_its_files_and_its_kind() {
        let good = || Figures {
            space: Some(Space {
                free: 10_000 * MB,
                total: 20_000 * MB,
            }),
            traits: Some(Traits {
                read_only: false,
                files: Some((1_000_000, 900_000)),
            }),
            mount: Some(Mount {
                point: "/".into(),
                kind: "ext4".into(),
                options: "rw".into(),
            }),
            store_bytes: 500 * MB,
            reserve_bytes: 64 * MB,
        };
        let free = |megabytes: u64| {
            let mut figures = good();
            figures.space = Some(Space {
                free: megabytes * MB,
                total: 20_000 * MB,
            });
            figures
        };
        let kind = |name: &str| {
            let mut figures = good();
            figures.mount.as_mut().unwrap().kind = name.into();
            figures
        };
        let traits = |read_only, files| Figures {
            traits: Some(Traits { read_only, files }),
            ..good()
        };
        for (figures, expected, part) in [
            (good(), Status::Ok, "10 GB of 20 GB free on ext4"),
            (free(63), Status::Fail, "store.reserve_bytes"),
            (free(100), Status::Warn, "below 64 MB"),
            (free(550), Status::Warn, "not enough for a copy of the store (500 MB)"),
            (free(565), Status::Ok, "free"),
            (kind("nfs4"), Status::Warn, "over the network"),
            (kind("tmpfs"), Status::Warn, "memory"),
            (kind("overlay"), Status::Warn, "container"),
            (traits(true, None), Status::Fail, "read-only"),
            (traits(false, Some((10, 0))), Status::Fail, "inodes"),
            (traits(false, Some((1_000_000, 900))), Status::Warn, "900 more files"),
            (traits(false, None), Status::Ok, "free"),
            (Figures { space: None, ..good() }, Status::Skipped, "does not say"),
        ] {
            let check = judge_disk(&figures);
            assert!(check.status == expected && check.found.contains(part), "{check:?}");
        }
    }

    #[test]
    fn little_memory_and_few_files_are_warnings() {
        assert_eq!(judge_memory(Some(99 << 20)).status, Status::Warn);
        assert_eq!(judge_memory(Some(100 << 20)).status, Status::Ok);
        assert_eq!(judge_memory(None).status, Status::Skipped);
        for (limit, expected) in [
            (1024, Status::Warn),
            (5159, Status::Warn),
            (5160, Status::Ok),
            (u64::MAX, Status::Ok),
        ] {
            assert_eq!(judge_file_limits(limit, 5160, "the server").status, expected);
        }
    }

    #[test]
    fn a_clock_is_compared_with_another_machines() {
        let now = Timestamp::from_seconds(1_800_000_000);
        let off = |seconds: i64| Times {
            now,
            stepped: Duration::ZERO,
            other: Some((Timestamp::from_seconds(now.seconds() + seconds), now, "host".into())),
        };
        let alone = |now, stepped| Times {
            now,
            stepped,
            other: None,
        };
        for (times, expected, part) in [
            (off(0), Status::Ok, "as host says"),
            (off(-1), Status::Ok, "as host says"),
            (off(30), Status::Ok, "30 s behind host"),
            (off(31), Status::Warn, "31 s behind host"),
            (off(-300), Status::Warn, "300 s ahead of host"),
            (off(-301), Status::Fail, "301 s ahead of host"),
            (alone(now, Duration::ZERO), Status::Ok, "compared with nobody"),
            (alone(now, Duration::from_secs(5)), Status::Warn, "set by 5 s"),
            (alone(Timestamp::EPOCH, Duration::ZERO), Status::Fail, "1970"),
            (
                alone(Timestamp::from_seconds(5_000_000_000), Duration::ZERO),
                Status::Fail,
                "2128",
            ),
        ] {
            let check = clock(&times);
            assert!(check.status == expected && check.found.contains(part), "{check:?}");
        }
    }

    #[test]
    fn a_folder_that_is_not_there_yet_is_judged_by_the_one_above() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("not/there");
        assert_eq!(nearest(&deep).unwrap(), folder.path());
        assert_eq!(nearest(folder.path()).unwrap(), folder.path());
    }
}
