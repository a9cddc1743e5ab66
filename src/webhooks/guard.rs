//! Which addresses may be called: the public internet over https, and what the operator has opted in.
//!
//! A webhook's address is chosen by whoever holds a key, but the call comes from this machine, inside its network. So
//! the address is judged twice: when it is registered, for a clear answer, and again at every connection, after the
//! name was resolved and with the very addresses that are then connected to (no second lookup, so no rebinding).
//! Ranges: IANA's registries of special-purpose addresses for IPv4 and IPv6.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use url::{Host, Url};

use crate::sys::clock;

/// How long a name server may take.
const RESOLVED_WITHIN: Duration = Duration::from_secs(10);

/// The longest address that is taken.
const LONGEST_URL: usize = 2048;

/// Ports of services that speak something else and can be made to misunderstand a request; the list of the Fetch
/// standard ("bad ports").
const OTHER_SERVICES: &[u16] = &[
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109,
    110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531,
    532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060,
    5061, 6000, 6379, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
];

/// What may be called.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Policy {
    /// Ranges that are not public and may be called all the same, over http too.
    pub allow_private: Vec<IpNet>,
    /// Whether public addresses may be called without TLS.
    pub allow_http: bool,
}

/// Why an address is not called.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// Not an address at all.
    #[error("this is no web address; write it as https://example.org/path")]
    NotAnAddress,
    /// Too long.
    #[error("the address is longer than {LONGEST_URL} characters")]
    TooLong,
    /// Another scheme.
    #[error("the address must begin with https://")]
    Scheme,
    /// A user name or password in it.
    #[error("the address must not contain a user name or password; check the signature instead")]
    Credentials,
    /// http to a target that was not opted in.
    #[error(
        "http:// sends events readable by everybody on the way; use https://, or opt the target's network in with the setting webhooks.allow_private"
    )]
    Http,
    /// A port of another kind of service.
    #[error("port {0} belongs to another kind of service; use 443 or a port of your own above 1024")]
    Port(u16),
    /// Not public.
    #[error(
        "{address} is {what}, and webhooks go to public addresses alone; to call a machine of your own network, opt it in with the setting webhooks.allow_private"
    )]
    Private {
        /// Which.
        address: IpAddr,
        /// Of what kind.
        what: &'static str,
    },
    /// The name has no address.
    #[error("the name {0} cannot be resolved; check its spelling, or try again when its DNS entry is there")]
    Unresolved(String),
}

impl Refusal {
    /// The reason as one word, for programs.
    pub const fn reason(&self) -> &'static str {
        match self {
            Refusal::NotAnAddress | Refusal::TooLong => "malformed",
            Refusal::Scheme => "scheme",
            Refusal::Credentials => "credentials",
            Refusal::Http => "http",
            Refusal::Port(_) => "port",
            Refusal::Private { .. } => "private_address",
            Refusal::Unresolved(_) => "unresolved",
        }
    }
}

impl Policy {
    /// Judges what stands in an address, without resolving a name.
    pub fn check_url(&self, text: &str) -> Result<Url, Refusal> {
        if text.len() > LONGEST_URL {
            return Err(Refusal::TooLong);
        }
        // The parser drops tabs and line breaks, and people do not write them.
        if text
            .chars()
            .any(|character| character.is_control() || character.is_whitespace())
        {
            return Err(Refusal::NotAnAddress);
        }
        let url = Url::parse(text).map_err(|_| Refusal::NotAnAddress)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refusal::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::Credentials);
        }
        // The parser has read decimal, octal, hexadecimal and shortened forms of IPv4 for what they mean.
        let address = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(name)) if !name.trim_end_matches('.').is_empty() => None,
            _ => return Err(Refusal::NotAnAddress),
        };
        if let Some(port) = url.port()
            && OTHER_SERVICES.contains(&port)
        {
            return Err(Refusal::Port(port));
        }
        if let Some(address) = address {
            self.check_address(address, url.scheme() == "http")?;
        }
        Ok(url)
    }

    /// Judges an address that is about to be connected to.
    pub fn check_address(&self, address: IpAddr, plain: bool) -> Result<(), Refusal> {
        let address = unmapped(address);
        if self.allow_private.iter().any(|network| network.contains(&address)) {
            return Ok(());
        }
        if let Some(what) = special(address) {
            return Err(Refusal::Private { address, what });
        }
        if plain && !self.allow_http {
            return Err(Refusal::Http);
        }
        Ok(())
    }

    /// Judges an address and the name in it, as it resolves now.
    pub async fn check(&self, text: &str) -> Result<Url, Refusal> {
        let url = self.check_url(text)?;
        if let Some(Host::Domain(name)) = url.host() {
            self.resolve(name, url.scheme() == "http").await?;
        }
        Ok(url)
    }

    /// Resolves a name; refused as a whole when one of its addresses may not be called, because a name that is public
    /// and private at once is a trap or a mistake.
    pub async fn resolve(&self, name: &str, plain: bool) -> Result<Vec<SocketAddr>, Refusal> {
        let found = clock::timeout(RESOLVED_WITHIN, tokio::net::lookup_host((name, 0))).await;
        let Ok(Ok(addresses)) = found else {
            return Err(Refusal::Unresolved(name.to_owned()));
        };
        let addresses: Vec<SocketAddr> = addresses.collect();
        self.admit(name, addresses, plain)
    }

    fn admit(&self, name: &str, addresses: Vec<SocketAddr>, plain: bool) -> Result<Vec<SocketAddr>, Refusal> {
        if addresses.is_empty() {
            return Err(Refusal::Unresolved(name.to_owned()));
        }
        for address in &addresses {
            self.check_address(address.ip(), plain)?;
        }
        Ok(addresses)
    }
}

/// IPv4 inside IPv6 is IPv4.
fn unmapped(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// What is special about an address; `None` for one of the public internet.
fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => special_v4(address),
        IpAddr::V6(address) => special_v6(address),
    }
}

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [0, ..] => Some("\"this network\""),
        [10, ..] | [192, 168, ..] | [172, 16..=31, ..] => Some("private"),
        [100, 64..=127, ..] => Some("an address of a provider's inner network"),
        [127, ..] => Some("this machine itself"),
        // Where clouds keep their metadata.
        [169, 254, ..] => Some("link-local"),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Some("an example of documentation"),
        [192, 0, 0, _] | [192, 31, 196, _] | [192, 52, 193, _] | [192, 175, 48, _] | [192, 88, 99, _] => {
            Some("reserved for protocols")
        }
        [198, 18..=19, ..] => Some("reserved for measurements"),
        [224..=239, ..] => Some("multicast"),
        [255, 255, 255, 255] => Some("broadcast"),
        [240..=255, ..] => Some("reserved"),
        _ => None,
    }
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("unspecified"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("this machine itself"),
        // IPv4 in other clothes: compatible, translated (two prefixes), 6to4, Teredo, ISATAP. Nobody serves webhooks there.
        [0, 0, 0, 0, 0, 0, ..] => Some("an obsolete form of IPv4"),
        [0x64, 0xff9b, ..] => Some("a translation of IPv4"),
        [0x2002, ..] | [0x2001, 0, ..] | [_, _, _, _, 0 | 0x200, 0x5efe, ..] => Some("a tunnel of IPv4"),
        [0x100, 0, 0, 0 | 1, ..] => Some("a discard address"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Some("an example of documentation"),
        [0x2001, 1..=0x1ff, ..] | [0x2620, 0x4f, 0x8000, ..] | [0x5f00, ..] => Some("reserved for protocols"),
        [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..] => Some("private"),
        [0xfe80..=0xfebf, ..] => Some("link-local"),
        [0xff00..=0xffff, ..] => Some("multicast"),
        [0x2000..=0x3fff, ..] => None,
        _ => Some("not assigned"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Addresses that somebody tries, each with the reason of its refusal.
    const HOSTILE: &[(&str, &str)] = &[
        ("", "malformed"),
        ("example.org", "malformed"),
        ("https://", "malformed"),
        ("https://exa mple.org/", "malformed"),
        ("https://example.org/\r\nHost: x", "malformed"),
        ("\thttps://example.org/", "malformed"),
        ("https://[::1/", "malformed"),
        ("https://1.2.3.4.5/", "malformed"),
        ("https://256.256.256.256/", "malformed"),
        ("https://./", "malformed"),
        ("ftp://example.org/", "scheme"),
        ("file:///etc/passwd", "scheme"),
        ("gopher://127.0.0.1:6379/_FLUSHALL", "scheme"),
        ("javascript:alert(1)", "scheme"),
        ("data:text/plain,x", "scheme"),
        ("unix:/run/docker.sock", "scheme"),
        ("https://user@example.org/", "credentials"),
        ("https://user:pass@example.org/", "credentials"),
        ("https://example.org@127.0.0.1/", "credentials"),
        ("https://:pass@example.org/", "credentials"),
        ("http://93.184.216.34/", "http"),
        ("https://example.org:22/", "port"),
        ("https://example.org:25/", "port"),
        ("https://example.org:6379/", "port"),
        ("https://example.org:0/", "port"),
        ("https://127.0.0.1/", "private_address"),
        ("https://127.1/", "private_address"),
        ("https://2130706433/", "private_address"),
        ("https://0177.0.0.1/", "private_address"),
        ("https://0x7f.0.0.1/", "private_address"),
        ("https://0x7f000001/", "private_address"),
        ("https://127.0.0.1./", "private_address"),
        ("https://%31%32%37.0.0.1/", "private_address"),
        ("https://①②⑦.0.0.1/", "private_address"),
        ("https://0/", "private_address"),
        ("https://0.0.0.0/", "private_address"),
        ("https://10.1.2.3/", "private_address"),
        ("https://172.16.0.1/", "private_address"),
        ("https://172.31.255.255/", "private_address"),
        ("https://192.168.1.1/", "private_address"),
        ("https://100.64.0.1/", "private_address"),
        ("https://169.254.169.254/latest/meta-data/", "private_address"),
        ("https://0xa9fea9fe/", "private_address"),
        ("https://192.0.0.192/", "private_address"),
        ("https://198.18.0.1/", "private_address"),
        ("https://203.0.113.9/", "private_address"),
        ("https://224.0.0.1/", "private_address"),
        ("https://240.0.0.1/", "private_address"),
        ("https://255.255.255.255/", "private_address"),
        ("https://[::]/", "private_address"),
        ("https://[::1]/", "private_address"),
        ("https://[::ffff:127.0.0.1]/", "private_address"),
        ("https://[::ffff:a9fe:a9fe]/", "private_address"),
        ("https://[::127.0.0.1]/", "private_address"),
        ("https://[64:ff9b::7f00:1]/", "private_address"),
        ("https://[64:ff9b:1::7f00:1]/", "private_address"),
        ("https://[2002:7f00:1::]/", "private_address"),
        ("https://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/", "private_address"),
        ("https://[2606:4700::5efe:7f00:1]/", "private_address"),
        ("https://[2001:db8::1]/", "private_address"),
        ("https://[3fff::1]/", "private_address"),
        ("https://[fc00::1]/", "private_address"),
        ("https://[fd00:ec2::254]/", "private_address"),
        ("https://[fe80::1]/", "private_address"),
        ("https://[fec0::1]/", "private_address"),
        ("https://[ff02::1]/", "private_address"),
        ("https://[100::1]/", "private_address"),
        ("https://[4000::1]/", "private_address"),
    ];

    #[test]
    fn hostile_addresses_are_refused_each_for_its_own_reason() {
        let policy = Policy::default();
        assert!(HOSTILE.len() >= 40);
        for (text, reason) in HOSTILE {
            let refused = policy.check_url(text).map_err(|refusal| refusal.reason());
            assert_eq!(refused.err(), Some(*reason), "{text}");
        }
        let long = format!("https://example.org/{}", "x".repeat(3000));
        assert_eq!(policy.check_url(&long), Err(Refusal::TooLong));
    }

    #[test]
    fn ordinary_addresses_are_taken() {
        let policy = Policy::default();
        for text in [
            "https://example.org/",
            "https://example.org:8443/hook?x=1",
            "https://xn--bcher-kva.example/",
            "https://bücher.example/",
            "https://93.184.216.34/",
            "https://[2606:4700::1111]/",
            "HTTPS://EXAMPLE.ORG/",
            "http://example.org/",
        ] {
            assert!(policy.check_url(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_the_operator_opted_in_may_be_called_also_over_http_and_in_every_spelling() {
        let policy = Policy {
            allow_private: vec!["127.0.0.0/8".parse().unwrap(), "fd12::/16".parse().unwrap()],
            allow_http: false,
        };
        for text in [
            "http://127.0.0.1:9000/",
            "https://2130706433/",
            "http://[::ffff:127.0.0.1]/",
            "http://[fd12::1]/",
        ] {
            assert!(policy.check_url(text).is_ok(), "{text}");
        }
        assert!(policy.check_url("https://10.0.0.1/").is_err());
        assert!(policy.check_url("http://127.0.0.1:22/").is_err());
    }

    #[test]
    fn a_name_that_is_public_and_private_at_once_is_refused() {
        let policy = Policy::default();
        let address = |text: &str| SocketAddr::new(text.parse().unwrap(), 0);
        let mixed = vec![address("93.184.216.34"), address("10.0.0.1")];
        assert!(matches!(policy.admit("x", mixed, false), Err(Refusal::Private { .. })));
        let public = vec![address("93.184.216.34"), address("2606:4700::1111")];
        assert_eq!(policy.admit("x", public.clone(), false), Ok(public.clone()));
        assert_eq!(policy.admit("x", public.clone(), true), Err(Refusal::Http));
        let open = Policy {
            allow_http: true,
            ..policy.clone()
        };
        assert!(open.admit("x", public, true).is_ok());
        assert!(matches!(
            policy.admit("x", Vec::new(), false),
            Err(Refusal::Unresolved(_))
        ));
    }

    #[tokio::test]
    async fn the_name_of_this_machine_is_refused_after_it_was_resolved() {
        let refused = Policy::default().check("https://localhost/").await;
        assert!(matches!(refused, Err(Refusal::Private { .. })), "{refused:?}");
    }
}
