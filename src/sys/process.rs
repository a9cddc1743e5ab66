//! What the operating system knows about this process.

/// Memory that a process has in RAM, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Memory {
    /// Now.
    pub resident: u64,
    /// The most since it started.
    pub peak: Option<u64>,
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
}
