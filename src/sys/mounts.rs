//! Which file system lies behind a path.

use std::path::{Path, PathBuf};

/// A mounted file system.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mount {
    /// Where it is mounted.
    pub point: PathBuf,
    /// Its type as the kernel calls it: `ext4`, `nfs4`, `tmpfs`.
    pub kind: String,
    /// How it is mounted: `rw,noatime`.
    pub options: String,
}

/// The mount behind a path that exists; `None` where the system does not tell.
pub fn behind(path: &Path) -> Option<Mount> {
    let path = std::fs::canonicalize(path).ok()?;
    find(&std::fs::read_to_string("/proc/self/mountinfo").ok()?, &path)
}

/// The last line wins among equals: it was mounted over the others.
fn find(table: &str, path: &Path) -> Option<Mount> {
    let fitting = table
        .lines()
        .filter_map(parse)
        .filter(|mount| path.starts_with(&mount.point));
    fitting.max_by_key(|mount| mount.point.components().count())
}

/// `36 35 98:0 /root /mnt rw,noatime master:1 - ext3 /dev/root rw,errors=continue`; the fields before the dash vary.
fn parse(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut fields = before.split(' ').skip(4);
    Some(Mount {
        point: PathBuf::from(unescaped(fields.next()?)),
        options: fields.next()?.to_owned(),
        kind: after.split(' ').next()?.to_owned(),
    })
}

/// The kernel writes space, tab, line break and backslash as three octal digits.
fn unescaped(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (code, character)| text.replace(code, character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_mount_and_the_last_one_there_is_behind_a_path() {
        let table = "1 0 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
                     2 1 0:40 / /srv/my\\040data rw,noatime shared:1 - nfs4 host:/x rw\n\
                     3 1 0:41 / /srv rw - xfs /dev/vdb rw\n\
                     4 1 0:42 / /srv ro,nosuid master:2 - tmpfs none rw\n\
                     nonsense\n";
        let kind = |path: &str| find(table, Path::new(path)).map(|mount| mount.kind);
        assert_eq!(kind("/var/lib"), Some("ext4".into()));
        assert_eq!(kind("/srv/my data/x"), Some("nfs4".into()));
        assert_eq!(kind("/srv/other"), Some("tmpfs".into()));
        assert_eq!(kind("/srvother"), Some("ext4".into()));
        assert_eq!(find(table, Path::new("/srv")).unwrap().options, "ro,nosuid");
        assert_eq!(find("", Path::new("/")), None);
    }
}
