//! What the operating system knows about this process and others.

use std::time::Duration;

/// Memory that a process has in RAM, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Memory {
    /// Now.
    pub resident: u64,
    /// The most since it started.
    pub peak: Option<u64>,
    /// Address space, most of which is nowhere.
    pub virtual_size: Option<u64>,
}

/// The memory of this process; `None` where the system does not tell.
pub fn memory() -> Option<Memory> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let bytes = |name: &str| kibibytes(&status, name);
    Some(Memory {
        resident: bytes("VmRSS:")?,
        peak: bytes("VmHWM:"),
        virtual_size: bytes("VmSize:"),
    })
}

/// Processor time that this process has used, in its own code and in the kernel; `None` where the system does not tell.
pub fn cpu_time() -> Option<Duration> {
    /// `USER_HZ`, which is this on every Linux that the program is built for.
    const MILLIS_PER_TICK: u64 = 1_000 / 100;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the name in brackets and may hold anything; the third is the first behind it.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(Duration::from_millis((ticks()? + ticks()?) * MILLIS_PER_TICK))
}

/// File descriptors of this process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Descriptors {
    /// Open now.
    pub open: u64,
    /// That may be open; `None` is no limit.
    pub max: Option<u64>,
}

/// The file descriptors of this process; `None` where the system does not tell.
pub fn descriptors() -> Option<Descriptors> {
    let open = std::fs::read_dir("/proc/self/fd").ok()?.count();
    Some(Descriptors {
        // One of them is the folder that is being read.
        open: u64::try_from(open).ok()?.saturating_sub(1),
        max: rustix::process::getrlimit(rustix::process::Resource::Nofile).current,
    })
}

/// Lets this process have as many files open as it may allow itself.
///
/// Every connection is one, and 1024, which a login grants by tradition for the sake of `select`, is soon used up by
/// sessions, streams and deliveries. Without the right to do so things stay as they are.
pub fn raise_descriptor_limit() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit {
        current: limit.maximum,
        ..limit
    };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, raised);
}

/// The name of a running process.
pub fn name(pid: u32) -> Option<String> {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}

/// What a process is doing, in a letter: `R`uns, `S`leeps, `D` waits for the disk, `T` was stopped, `Z` has ended.
pub fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it stands in brackets and may hold anything.
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

/// The systemd unit that a process belongs to, such as `whatisup.service`.
pub fn unit(pid: u32) -> Option<String> {
    unit_in(&std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?)
}

fn unit_in(table: &str) -> Option<String> {
    let groups = table.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    let mut units = groups.filter_map(|group| group.rsplit('/').find(|part| part.ends_with(".service")));
    // A login's own manager is a service too, and says nothing.
    units.find(|unit| !unit.starts_with("user@")).map(str::to_owned)
}

/// How many files another process may have open.
pub fn open_files_limit(pid: u32) -> Option<u64> {
    limit_in(&std::fs::read_to_string(format!("/proc/{pid}/limits")).ok()?)
}

/// How many files this process could allow itself, see [`raise_descriptor_limit`].
pub fn open_files_ceiling() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile)
        .maximum
        .unwrap_or(u64::MAX)
}

fn limit_in(table: &str) -> Option<u64> {
    let line = table.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

/// Memory that a program could still take, in bytes, by the machine and by the container around us.
pub fn available_memory() -> Option<u64> {
    let machine = kibibytes(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")?;
    let figure = |name: &str| -> Option<u64> {
        let text = std::fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok()?;
        text.trim().parse().ok()
    };
    let container = figure("memory.max").zip(figure("memory.current"));
    Some(container.map_or(machine, |(most, now)| machine.min(most.saturating_sub(now))))
}

/// A line such as `VmRSS:    1234 kB`, in bytes.
fn kibibytes(table: &str, name: &str) -> Option<u64> {
    let line = table.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_of_a_process_is_read_from_its_group_and_a_logins_manager_is_none() {
        for (table, expected) in [
            ("0::/system.slice/whatisup.service\n", Some("whatisup.service")),
            (
                "12:cpu:/\n0::/system.slice/whatisup.service/sub\n",
                Some("whatisup.service"),
            ),
            (
                "0::/user.slice/user-1000.slice/user@1000.service/app.slice/whatisup.service\n",
                Some("whatisup.service"),
            ),
            ("0::/user.slice/user-1000.slice/user@1000.service/init.scope\n", None),
            ("0::/\n", None),
            ("", None),
        ] {
            assert_eq!(unit_in(table).as_deref(), expected, "{table}");
        }
    }

    #[test]
    fn the_limit_of_open_files_is_the_soft_one() {
        let table = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024      524288    files\n";
        assert_eq!(limit_in(table), Some(1024));
        assert_eq!(limit_in("Max open files  unlimited unlimited files"), Some(u64::MAX));
        assert_eq!(limit_in(""), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_is_known_by_its_number() {
        let own = std::process::id();
        assert!(name(own).is_some_and(|name| !name.is_empty()));
        assert!(matches!(state(own), Some('R' | 'S')));
        assert!(open_files_limit(own).is_some_and(|limit| limit > 0 && limit <= open_files_ceiling()));
        assert!(available_memory().is_some_and(|bytes| bytes > 0));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_some_memory_and_once_had_no_less() {
        let memory = super::memory().unwrap();
        assert!(memory.resident > 100_000 && memory.peak.is_some_and(|peak| peak >= memory.resident));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_works_and_has_something_open() {
        let before = super::cpu_time().unwrap();
        // Work until the clock of the processor has moved on, however fast it is.
        while super::cpu_time().unwrap() == before {}
        let file = std::fs::File::open("/proc/self/stat").unwrap();
        let with = super::descriptors().unwrap();
        assert!(
            with.open >= 4 && with.max.is_none_or(|max| with.open <= max),
            "{with:?}"
        );
        drop(file);
    }
}
