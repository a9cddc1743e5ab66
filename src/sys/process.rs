//! What the operating system knows about this process.

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
    let bytes = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kibibytes * 1024)
    };
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

#[cfg(test)]
mod tests {
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
