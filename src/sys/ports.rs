//! Who listens on this machine's TCP ports.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A listening socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Listener {
    /// Where.
    pub address: SocketAddr,
    /// Whose.
    pub uid: u32,
    /// The number by which its process can be found.
    inode: u64,
}

/// Every listening socket; `None` where the system does not tell.
pub fn listeners() -> Option<Vec<Listener>> {
    let v4 = std::fs::read_to_string("/proc/net/tcp").ok()?;
    // Not there on a machine without IPv6.
    let v6 = std::fs::read_to_string("/proc/net/tcp6").unwrap_or_default();
    Some(v4.lines().chain(v6.lines()).filter_map(parse).collect())
}

impl Listener {
    /// Whether another program could not listen on `wanted` beside this one.
    pub fn is_in_the_way_of(&self, wanted: SocketAddr) -> bool {
        let same = |one: IpAddr, other: IpAddr| one.to_canonical() == other.to_canonical();
        let all = |ip: IpAddr, other: IpAddr| ip.is_unspecified() && (ip.is_ipv6() || other.is_ipv4());
        let (own, its) = (wanted.ip(), self.address.ip());
        self.address.port() == wanted.port() && (same(own, its) || all(own, its) || all(its, own))
    }

    /// The process behind it; `None` when that is another user's.
    pub fn pid(&self) -> Option<u32> {
        let wanted = format!("socket:[{}]", self.inode);
        let processes = std::fs::read_dir("/proc").ok()?.flatten();
        processes
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .find(|pid: &u32| {
                let open = std::fs::read_dir(format!("/proc/{pid}/fd"));
                open.into_iter()
                    .flatten()
                    .flatten()
                    .filter_map(|entry| std::fs::read_link(entry.path()).ok())
                    .any(|target| target.as_os_str() == wanted.as_str())
            })
    }
}

/// `0: 0100007F:1F90 00000000:0000 0A …`: number, here, there, state (0A listens), …, user, …, inode.
fn parse(line: &str) -> Option<Listener> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (ip, port) = fields.get(1)?.split_once(':')?;
    if *fields.get(3)? != "0A" {
        return None;
    }
    Some(Listener {
        address: SocketAddr::new(address(ip)?, u16::from_str_radix(port, 16).ok()?),
        uid: fields.get(7)?.parse().ok()?,
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// Words of 32 bits in the machine's own order, as they lie in memory.
fn address(text: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(text.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    if text.len() == 8 {
        return Some(Ipv4Addr::from(word(0)?).into());
    }
    let mut bytes = [0; 16];
    for (at, four) in bytes.chunks_exact_mut(4).enumerate() {
        four.copy_from_slice(&word(at * 8)?);
    }
    Some(Ipv6Addr::from(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> Listener {
        Listener {
            address: address.parse().unwrap(),
            uid: 0,
            inode: 0,
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn our_own_listening_socket_is_found_with_its_process() {
        for here in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(socket) = std::net::TcpListener::bind(here) else {
                continue;
            };
            let address = socket.local_addr().unwrap();
            let all = listeners().unwrap();
            let found = all.iter().find(|one| one.address == address).unwrap();
            assert_eq!(found.pid(), Some(std::process::id()));
        }
    }

    #[test]
    fn a_socket_on_every_address_is_in_the_way_of_one_and_the_other_way_round() {
        for (there, wanted, expected) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.2:80", "127.0.0.1:80", false),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "0.0.0.0:80", true),
            ("[::]:80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "[::1]:80", false),
            ("[::1]:80", "127.0.0.1:80", false),
        ] {
            assert_eq!(
                at(there).is_in_the_way_of(wanted.parse().unwrap()),
                expected,
                "{there} {wanted}"
            );
        }
    }

    #[test]
    fn connections_and_headings_are_no_listeners() {
        assert_eq!(
            parse("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid"),
            None
        );
        let line = "0: 0100007F:1F90 0100007F:1F91 01 0:0 00:0 0 1000 0 7 1";
        assert_eq!(parse(line), None);
        assert!(parse(&line.replace(" 01 ", " 0A ")).is_some_and(|found| found.uid == 1000 && found.inode == 7));
    }
}
