//! How a past is cut into chunks, and what a companion that really decrypts gets of it.

use std::collections::BTreeSet;
use std::io::Read as _;

use flate2::read::ZlibDecoder;
use whatsapp_rust::buffa::{Message as _, MessageField};
use whatsapp_rust::wacore_binary::Jid;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_rust::waproto::whatsapp as wa;
use whatsapp_rust::waproto::whatsapp::conversation::EndOfHistoryTransferType as End;
use whatsapp_rust::waproto::whatsapp::history_sync::HistorySyncType as Kind;

use whatsapp_rust::waproto::whatsapp::message::peer_data_operation_request_message::{
    HistorySyncOnDemandRequest, PlaceholderMessageResendRequest,
};
use whatsapp_rust::waproto::whatsapp::message::protocol_message::Type;
use whatsapp_rust::waproto::whatsapp::message::{PeerDataOperationRequestMessage, PeerDataOperationRequestType};

use super::chunks::{People, cut};
use super::{HistoryWish, Past};
use crate::account::{Companion, CompanionRecord, DeviceAddress, Form, UploadedKeys};
use crate::phone::app_state::actions::ChatWish;
use crate::phone::chat::Chat;
use crate::phone::compose::text_message;
use crate::phone::media::{history_of, load};
use crate::phone::signal::Signal;
use crate::queue::Queue;
use crate::stanza::Stanza as _;
use crate::state::{Journal, Records};
use crate::world::World;

fn past(id: &str, count: u64) -> Past {
    let messages = (0..count).rev().map(|at| wa::WebMessageInfo {
        key: MessageField::some(wa::MessageKey {
            id: Some(format!("{id}-{at}")),
            ..Default::default()
        }),
        message_timestamp: Some(at),
        ..Default::default()
    });
    Past {
        head: wa::Conversation {
            id: id.to_owned(),
            ..Default::default()
        },
        messages: messages.collect(),
    }
}

fn wish(full: bool) -> HistoryWish {
    HistoryWish {
        full,
        initial_per_chat: None,
    }
}

fn kinds(chunks: &[wa::HistorySync]) -> Vec<Kind> {
    chunks.iter().map(|chunk| chunk.sync_type).collect()
}

fn ids(chunks: &[wa::HistorySync]) -> Vec<String> {
    chunks
        .iter()
        .flat_map(|chunk| &chunk.conversations)
        .flat_map(|conversation| &conversation.messages)
        .filter_map(|entry| entry.message.key.id.clone())
        .collect()
}

#[test]
fn a_phone_without_messages_sends_names_and_says_that_it_is_done() {
    let chunks = cut(Vec::new(), People::default(), &wish(true));
    assert_eq!(
        kinds(&chunks),
        [
            Kind::INITIAL_BOOTSTRAP,
            Kind::PUSH_NAME,
            Kind::RECENT,
            Kind::NON_BLOCKING_DATA
        ]
    );
    assert!(chunks[1..].iter().all(|chunk| chunk.progress == Some(100)));
}

#[test]
fn every_conversation_is_named_in_the_recent_part() {
    let chunks = cut(vec![past("a", 300), past("b", 2)], People::default(), &wish(false));
    let named: Vec<_> = chunks
        .iter()
        .filter(|chunk| chunk.sync_type == Kind::RECENT)
        .flat_map(|chunk| &chunk.conversations)
        .map(|conversation| (conversation.id.as_str(), conversation.messages.len()))
        .collect();
    assert_eq!(named, [("a", 200), ("b", 0), ("a", 80)]);
}

#[test]
fn every_message_comes_exactly_once_in_a_full_history() {
    let chunks = cut(vec![past("a", 2000), past("b", 7)], People::default(), &wish(true));
    let mut got = ids(&chunks);
    assert_eq!(got[..2], ["a-1999", "a-1998"]);
    got.sort();
    got.dedup();
    assert_eq!(got.len(), 2007);
    let full = chunks.iter().filter(|chunk| chunk.sync_type == Kind::FULL).count();
    let recent = chunks.iter().filter(|chunk| chunk.sync_type == Kind::RECENT).count();
    // 20 and 7 at once, 1000 recent, 980 older, 200 in each chunk.
    assert_eq!((recent, full), (5, 5));
    let orders: Vec<_> = chunks
        .iter()
        .filter(|chunk| chunk.sync_type == Kind::FULL)
        .map(|chunk| chunk.chunk_order.unwrap())
        .collect();
    assert_eq!(orders, [1, 2, 3, 4, 5]);
}

#[test]
fn a_client_that_wants_little_gets_little_and_is_told_that_there_is_more() {
    let few = HistoryWish {
        full: false,
        initial_per_chat: Some(3),
    };
    let chunks = cut(vec![past("a", 2000), past("b", 2)], People::default(), &few);
    assert_eq!(ids(&chunks[..1]), ["a-1999", "a-1998", "a-1997", "b-1", "b-0"]);
    assert_eq!(ids(&chunks).len(), 1005);
    assert!(!kinds(&chunks).contains(&Kind::FULL));
    let ends: Vec<_> = chunks
        .iter()
        .flat_map(|chunk| &chunk.conversations)
        .filter(|conversation| conversation.end_of_history_transfer == Some(true))
        .map(|conversation| (conversation.id.as_str(), conversation.end_of_history_transfer_type))
        .collect();
    assert_eq!(
        ends,
        [
            ("b", Some(End::COMPLETE_AND_NO_MORE_MESSAGE_REMAIN_ON_PRIMARY)),
            ("a", Some(End::COMPLETE_BUT_MORE_MESSAGES_REMAIN_ON_PRIMARY)),
        ]
    );
}

/// A world with two phones and a companion of the first that really decrypts.
struct Scene {
    world: World,
    signal: Signal,
    read_up_to: u64,
}

const OWN: &str = "5511999990001";
const OTHER: &str = "5511999990002";

fn companion() -> DeviceAddress {
    DeviceAddress::new(OWN, 1)
}

impl Scene {
    fn new() -> Self {
        let mut world = World::new(Journal::in_memory(), &Records::new(), false).unwrap();
        world.ensure_phone(OWN).unwrap();
        world.ensure_phone(OTHER).unwrap();
        Self {
            world,
            signal: Signal::generate().unwrap(),
            read_up_to: 0,
        }
    }

    fn texts(&mut self, from: &str, to: &str, count: usize) -> Vec<String> {
        (0..count)
            .map(|index| {
                let chat = Chat::Person(to.to_owned());
                let text = text_message(&format!("text {index}"));
                let id = self.world.phone_sends(from, &chat, Form::Number, text).unwrap();
                while let Some(entry) = self.world.accounts.get_mut(to).unwrap().phone.queue.pop() {
                    self.world.phone_receives(to, &entry.node).unwrap();
                }
                id
            })
            .collect()
    }

    fn link(&mut self, wish: HistoryWish) {
        let (bundle, _) = self.signal.take_bundle().unwrap();
        let record = CompanionRecord {
            key_index: 1,
            noise_static: Vec::new(),
            identity: bundle.identity,
            device_identity: Vec::new(),
            platform: "test".to_owned(),
            name: None,
            keys: Some(UploadedKeys {
                registration: bundle.registration,
                signed_id: bundle.signed_id,
                signed_public: bundle.signed_public,
                signed_signature: bundle.signed_signature,
            }),
            greeted: false,
            linked_at: 0,
            history: wish,
            owed_app_state: BTreeSet::new(),
        };
        let linked = Companion {
            record,
            prekeys: bundle.prekey.into_iter().collect(),
            queue: Queue::default(),
        };
        let account = self.world.accounts.get_mut(OWN).unwrap();
        account.companions.insert(1, linked);
        self.world.greet_if_due(&companion()).unwrap();
    }

    /// What the phone has told the companion since the last look.
    fn told(&mut self) -> Vec<wa::message::ProtocolMessage> {
        let account = self.world.accounts.get(OWN).unwrap();
        let mut told = Vec::new();
        while let Some(entry) = account.companions[&1].queue.after(self.read_up_to) {
            self.read_up_to = entry.sequence;
            if entry.node.text("category").as_deref() != Some("peer") {
                continue;
            }
            let enc = entry.node.child("enc").unwrap();
            let (kind, sealed) = (enc.text("type").unwrap(), enc.content().unwrap());
            let opened = self.signal.open(&DeviceAddress::phone(OWN), &kind, &sealed).unwrap();
            told.push(opened.message.protocol_message.into_option().unwrap());
        }
        told
    }

    fn ask(&mut self, request: PeerDataOperationRequestMessage) {
        self.say(wa::message::ProtocolMessage {
            r#type: Some(Type::PEER_DATA_OPERATION_REQUEST_MESSAGE),
            peer_data_operation_request_message: MessageField::some(request),
            ..Default::default()
        });
    }

    fn say(&mut self, message: wa::message::ProtocolMessage) {
        let message = wa::Message {
            protocol_message: MessageField::some(message),
            ..Default::default()
        };
        let sealed = self.signal.seal(&DeviceAddress::phone(OWN), &message).unwrap();
        let enc = NodeBuilder::new("enc").attr("v", "2").attr("type", sealed.kind);
        let stanza = NodeBuilder::new("message")
            .attr("from", Jid::pn(OWN).with_device(1))
            .attr("id", "ASKED")
            .children([enc.bytes(sealed.bytes).build()])
            .build();
        self.world.phone_receives(OWN, &stanza).unwrap();
    }
}

fn history(told: &[wa::message::ProtocolMessage]) -> Vec<wa::HistorySync> {
    let notifications = told
        .iter()
        .filter_map(|message| message.history_sync_notification.as_option());
    notifications
        .map(|notification| {
            let packed = notification.initial_hist_bootstrap_inline_payload.as_deref().unwrap();
            let mut plain = Vec::new();
            ZlibDecoder::new(packed).read_to_end(&mut plain).unwrap();
            wa::HistorySync::decode_from_slice(&plain).unwrap()
        })
        .collect()
}

#[test]
fn a_new_companion_is_told_keys_conversations_and_names() {
    let mut scene = Scene::new();
    let got = scene.texts(OTHER, OWN, 3);
    let sent = scene.texts(OWN, OTHER, 1);
    scene.link(wish(false));
    let told = scene.told();
    assert_eq!(told[0].r#type, Some(Type::APP_STATE_SYNC_KEY_SHARE));
    let chunks = history(&told);
    assert_eq!(kinds(&chunks)[0], Kind::INITIAL_BOOTSTRAP);
    let conversation = &chunks[0].conversations[0];
    assert_eq!(conversation.id, format!("{OTHER}@s.whatsapp.net"));
    assert!(conversation.lid_jid.as_deref().unwrap().ends_with("@lid"));
    assert_eq!(conversation.unread_count, Some(3));
    let mut expected: Vec<_> = got.into_iter().map(|id| (id, false)).collect();
    expected.extend(sent.into_iter().map(|id| (id, true)));
    let mut messages: Vec<_> = conversation
        .messages
        .iter()
        .map(|entry| {
            let key = &entry.message.key;
            (key.id.clone().unwrap(), key.from_me.unwrap())
        })
        .collect();
    messages.sort();
    expected.sort();
    assert_eq!(messages, expected);
    let texts = conversation
        .messages
        .iter()
        .filter(|entry| entry.message.message.conversation.as_deref() == Some("text 2"))
        .count();
    assert_eq!(texts, 1);
    assert_eq!(chunks[0].pushnames.len(), 2);
    assert_eq!(chunks[0].phone_number_to_lid_mappings.len(), 1);
}

#[test]
fn a_companion_gets_older_messages_of_a_conversation_when_it_asks() {
    let mut scene = Scene::new();
    let sent = scene.texts(OTHER, OWN, 30);
    scene.link(wish(false));
    scene.told();
    let chat = scene.world.accounts.get(OTHER).unwrap().jid(Form::Lid).to_string();
    for (oldest, most, expected) in [
        (&sent[20], 5, &sent[15..20]),
        (&sent[2], 50, &sent[..2]),
        (&sent[0], 5, &[]),
    ] {
        scene.ask(PeerDataOperationRequestMessage {
            peer_data_operation_request_type: Some(PeerDataOperationRequestType::HISTORY_SYNC_ON_DEMAND),
            history_sync_on_demand_request: MessageField::some(HistorySyncOnDemandRequest {
                chat_jid: Some(chat.clone()),
                oldest_msg_id: Some(oldest.clone()),
                on_demand_msg_count: Some(most),
                ..Default::default()
            }),
            ..Default::default()
        });
        let told = scene.told();
        let notification = &told[0].history_sync_notification;
        assert_eq!(notification.peer_data_request_session_id.as_deref(), Some("ASKED"));
        let chunks = history(&told);
        assert_eq!(kinds(&chunks), [Kind::ON_DEMAND]);
        let mut got = ids(&chunks);
        got.reverse();
        assert_eq!(got, expected);
    }
}

#[test]
fn a_message_that_a_companion_cannot_read_comes_from_the_phone() {
    let mut scene = Scene::new();
    let ids = scene.texts(OTHER, OWN, 2);
    scene.link(wish(false));
    scene.told();
    let asked = |id: &str| PlaceholderMessageResendRequest {
        message_key: MessageField::some(wa::MessageKey {
            remote_jid: Some(format!("{OTHER}@s.whatsapp.net")),
            id: Some(id.to_owned()),
            ..Default::default()
        }),
    };
    scene.ask(PeerDataOperationRequestMessage {
        peer_data_operation_request_type: Some(PeerDataOperationRequestType::PLACEHOLDER_MESSAGE_RESEND),
        placeholder_message_resend_request: vec![asked(&ids[1]), asked("NEVER SEEN")],
        ..Default::default()
    });
    let told = scene.told();
    let response = &told[0].peer_data_operation_request_response_message;
    assert_eq!(response.stanza_id.as_deref(), Some("ASKED"));
    let results: Vec<_> = response
        .peer_data_operation_result
        .iter()
        .map(|result| result.placeholder_message_resend_response.as_option())
        .collect();
    assert_eq!((results.len(), results[1]), (2, None));
    let bytes = results[0].unwrap().web_message_info_bytes.as_deref().unwrap();
    let info = wa::WebMessageInfo::decode_from_slice(bytes).unwrap();
    assert_eq!(info.message.conversation.as_deref(), Some("text 1"));
    assert_eq!(info.key.from_me, Some(false));
}

#[test]
fn keys_are_shared_with_companions_that_lack_them_and_a_complaint_is_noted() {
    let mut scene = Scene::new();
    scene.link(wish(false));
    let first = scene.told()[0].app_state_sync_key_share.keys[0].key_id.key_id.clone();
    scene.world.phone_must_change_key(OWN).unwrap();
    let changed = scene.told();
    let second = &changed[0].app_state_sync_key_share.keys[0];
    assert_ne!(second.key_id.key_id, first);
    let asked = |id: Option<Vec<u8>>| wa::message::AppStateSyncKeyId { key_id: id };
    scene.say(wa::message::ProtocolMessage {
        r#type: Some(Type::APP_STATE_SYNC_KEY_REQUEST),
        app_state_sync_key_request: MessageField::some(wa::message::AppStateSyncKeyRequest {
            key_ids: vec![asked(first.clone()), asked(Some(vec![9]))],
        }),
        ..Default::default()
    });
    let told = scene.told();
    let shared: Vec<_> = told[0]
        .app_state_sync_key_share
        .keys
        .iter()
        .map(|key| (key.key_id.key_id.clone(), key.key_data.is_set()))
        .collect();
    assert_eq!(shared, [(first, true), (Some(vec![9]), false)]);

    scene.say(wa::message::ProtocolMessage {
        r#type: Some(Type::APP_STATE_FATAL_EXCEPTION_NOTIFICATION),
        app_state_fatal_exception_notification: MessageField::some(wa::message::AppStateFatalExceptionNotification {
            collection_names: vec!["regular".to_owned()],
            ..Default::default()
        }),
        ..Default::default()
    });
    let complaints = scene.world.accounts.get(OWN).unwrap().phone.app_state.complaints();
    assert_eq!((complaints.len(), complaints[0].device), (1, 1));
}

#[test]
fn what_is_set_for_a_chat_stands_in_its_history() {
    let mut scene = Scene::new();
    scene.texts(OTHER, OWN, 1);
    let chat = format!("{OTHER}@s.whatsapp.net");
    let wish_for_chat = ChatWish {
        pinned: Some(true),
        archived: Some(true),
        muted_until: Some(-1),
        read: Some(false),
    };
    let newest = scene.world.newest_in(OWN, &chat);
    assert!(newest.is_some());
    for (name, changes) in wish_for_chat.changes(&chat, newest.as_ref(), 5_000) {
        scene.world.phone_sets(OWN, name, &changes).unwrap();
    }
    let head = &scene.world.past(OWN)[0].head;
    assert_eq!((head.archived, head.pinned), (Some(true), Some(5)));
    assert_eq!(
        (head.mute_end_time, head.marked_as_unread),
        (Some(u64::MAX), Some(true))
    );
}

#[test]
fn a_long_history_comes_from_the_media_servers_and_opens_with_what_the_message_says() {
    let mut scene = Scene::new();
    scene.world.phone_takes_name(OTHER, &"Ana".repeat(40)).unwrap();
    let sent = scene.texts(OTHER, OWN, 400);
    let many = HistoryWish {
        full: false,
        initial_per_chat: Some(400),
    };
    scene.link(many);
    let told = scene.told();
    let message = told
        .iter()
        .find(|message| message.history_sync_notification.direct_path.is_some())
        .expect("everything was sent in the messages themselves");
    let notification = &message.history_sync_notification;
    assert_eq!(notification.initial_hist_bootstrap_inline_payload, None);
    let reference = history_of(&wa::Message {
        protocol_message: MessageField::some(message.clone()),
        ..Default::default()
    })
    .unwrap();
    let packed = load(scene.world.phone_finds(&reference).unwrap(), &reference).unwrap();
    let mut plain = Vec::new();
    ZlibDecoder::new(&packed[..]).read_to_end(&mut plain).unwrap();
    let chunk = wa::HistorySync::decode_from_slice(&plain).unwrap();
    assert_eq!(ids(&[chunk]).len(), sent.len());
}
