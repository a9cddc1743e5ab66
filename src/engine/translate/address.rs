//! JIDs ↔ addresses.

use whatsapp_rust::{Jid, Server as WireServer};

use crate::domain::address::{Address, Server};

/// The address of a JID, without its device part; `None` for what the product has no word for (bots, calls, the
/// server itself).
pub(in crate::engine) fn from_jid(jid: &Jid) -> Option<Address> {
    let user = jid.user_base();
    match jid.server {
        // "hosted" is a business account's companion in Meta's cloud: the same person.
        WireServer::Pn | WireServer::Hosted | WireServer::Legacy => Address::phone(user).ok(),
        WireServer::Lid | WireServer::HostedLid => Address::parse(&format!("{user}@lid")).ok(),
        WireServer::Group => Address::parse(&format!("{user}@g.us")).ok(),
        WireServer::Broadcast => Address::parse(&format!("{user}@broadcast")).ok(),
        WireServer::Newsletter => Address::parse(&format!("{user}@newsletter")).ok(),
        _ => None,
    }
}

/// The JID of an address.
pub(in crate::engine) fn to_jid(address: &Address) -> Jid {
    let user = address.user();
    match address.server() {
        Server::Phone => Jid::pn(user),
        Server::Lid => Jid::lid(user),
        Server::Group => Jid::group(user),
        Server::Broadcast => Jid::new(user, WireServer::Broadcast),
        Server::Newsletter => Jid::newsletter(user),
    }
}

/// How a person is named in `from` and `to`: the phone number in digits when known, else the JID.
pub(in crate::engine) fn short(address: &Address) -> String {
    address
        .phone_number()
        .map_or_else(|| address.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_survives_the_way_there_and_back() {
        for text in [
            "5511999990001@s.whatsapp.net",
            "100000012345678@lid",
            "120363000000000000@g.us",
            "status@broadcast",
            "120363000000000001@newsletter",
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!(from_jid(&to_jid(&address)), Some(address), "{text}");
        }
    }

    #[test]
    fn a_device_part_names_the_same_person() {
        let jid = Jid::pn_device("5511999990001", 7);
        assert_eq!(from_jid(&jid).unwrap().to_string(), "5511999990001@s.whatsapp.net");
    }

    #[test]
    fn what_is_no_person_group_or_channel_has_no_address() {
        assert_eq!(from_jid(&Jid::new("1", WireServer::Bot)), None);
        assert_eq!(from_jid(&Jid::pn("0")), None);
    }
}
