//! A phone's app state as people and tests see it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::AppState;
use super::replica::Entry;
use crate::app_state::Name;

/// Everything that is set; `canonical` gives a chat's address by number, so that one chat is not shown twice.
pub(crate) fn view(state: &AppState, canonical: &dyn Fn(&str) -> String) -> Value {
    let mut shown = Shown::default();
    for entry in state.entries() {
        shown.take(entry, canonical);
    }
    let mut errors = Vec::new();
    let mut collections = Map::new();
    for (name, replica) in Name::ALL
        .into_iter()
        .filter_map(|name| Some((name, state.replica(name)?)))
    {
        for problem in replica.problems() {
            errors.push(json!({"collection": name.as_str(), "version": problem.version, "error": problem.bad}));
        }
        collections.insert(
            name.as_str().to_owned(),
            json!({"version": replica.version(), "entries": replica.entries().count()}),
        );
    }
    let complaints: Vec<Value> = state
        .complaints()
        .iter()
        .map(|complaint| json!({"device": complaint.device, "collections": complaint.collections, "at": complaint.at}))
        .collect();
    json!({
        "collections": collections,
        "keys": state.keys.shared().map(|key| hex::encode(&key.id)).collect::<Vec<_>>(),
        "errors": errors,
        "complaints": complaints,
        "pushName": shown.push_name,
        "chats": listed(shown.chats, "jid"),
        "contacts": listed(shown.contacts, "jid"),
        "labels": listed(shown.labels, "id"),
        "starred": shown.starred,
        "settings": shown.settings,
        "other": shown.other,
    })
}

#[derive(Default)]
struct Shown {
    push_name: Option<String>,
    chats: BTreeMap<String, Map<String, Value>>,
    contacts: BTreeMap<String, Map<String, Value>>,
    labels: BTreeMap<String, Map<String, Value>>,
    starred: Vec<Value>,
    settings: Map<String, Value>,
    /// What is known by its index alone.
    other: Vec<Vec<String>>,
}

impl Shown {
    fn take(&mut self, entry: &Entry, canonical: &dyn Fn(&str) -> String) {
        let value = &entry.value;
        let index: Vec<&str> = entry.index.iter().map(String::as_str).collect();
        match index.as_slice() {
            ["setting_pushName"] => self.push_name.clone_from(&value.push_name_setting.name),
            ["pin_v1", chat] => self.chat(canonical(chat), "pinned", json!(value.pin_action.pinned)),
            ["archive", chat] => self.chat(canonical(chat), "archived", json!(value.archive_chat_action.archived)),
            ["mute", chat] => {
                let mute = &value.mute_action;
                let until = if mute.muted == Some(true) {
                    // Clients that mute for good send -1 or nothing.
                    json!(mute.mute_end_timestamp.unwrap_or(-1))
                } else {
                    Value::Null
                };
                self.chat(canonical(chat), "mutedUntil", until);
            }
            ["markChatAsRead", chat] => {
                let read = value.mark_chat_as_read_action.read.unwrap_or_default();
                self.chat(canonical(chat), "unread", json!(!read));
            }
            ["contact", person] => {
                let contact = &value.contact_action;
                let shown = self.contacts.entry(canonical(person)).or_default();
                shown.insert("name".into(), json!(contact.full_name));
                shown.insert("firstName".into(), json!(contact.first_name));
            }
            ["star", chat, id, from_me, ..] if value.star_action.starred == Some(true) => {
                self.starred
                    .push(json!({"chat": canonical(chat), "id": id, "fromMe": *from_me == "1"}));
            }
            ["label_edit", id] => {
                let label = &value.label_edit_action;
                let shown = self.labels.entry((*id).to_owned()).or_default();
                shown.insert("name".into(), json!(label.name));
                shown.insert("deleted".into(), json!(label.deleted.unwrap_or_default()));
            }
            ["label_jid", id, chat] => {
                let labeled = value.label_association_action.labeled == Some(true);
                let shown = self.labels.entry((*id).to_owned()).or_default();
                if let Value::Array(chats) = shown.entry("chats").or_insert_with(|| json!([]))
                    && labeled
                {
                    chats.push(json!(canonical(chat)));
                }
            }
            ["setting_locale"] => self.setting("locale", json!(value.locale_setting.locale)),
            ["setting_unarchiveChats"] => {
                self.setting("unarchiveChats", json!(value.unarchive_chats_setting.unarchive_chats));
            }
            ["setting_disableLinkPreviews"] => self.setting(
                "disableLinkPreviews",
                json!(value.privacy_setting_disable_link_previews_action.is_previews_disabled),
            ),
            ["time_format"] => self.setting(
                "twentyFourHours",
                json!(value.time_format_action.is_twenty_four_hour_format_enabled),
            ),
            _ => self.other.push(entry.index.clone()),
        }
    }

    fn chat(&mut self, jid: String, field: &str, value: Value) {
        self.chats.entry(jid).or_default().insert(field.to_owned(), value);
    }

    fn setting(&mut self, name: &str, value: Value) {
        self.settings.insert(name.to_owned(), value);
    }
}

fn listed(entries: BTreeMap<String, Map<String, Value>>, key: &str) -> Vec<Value> {
    entries
        .into_iter()
        .map(|(id, mut fields)| {
            fields.insert(key.to_owned(), json!(id));
            Value::Object(fields)
        })
        .collect()
}
