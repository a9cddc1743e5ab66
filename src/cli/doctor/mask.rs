//! Takes out of a text what nobody who helps needs to see: numbers of people, names, ids, keys, and every part of an
//! address that may be a secret.
//!
//! The log has none of this to begin with; this is for the day that rule is broken. So it masks too much rather than
//! too little: every long row of digits, every long word that looks random.

use std::path::Path;

use serde_json::Value;

use super::links::host;
use crate::domain::Timestamp;

/// As many digits in a row are a phone number, until shown otherwise.
const DIGITS: usize = 7;

/// As many characters without a space, letters and digits mixed, are a key.
const RANDOM: usize = 24;

/// The random part of an id.
const ID: usize = 16;

/// A name that is shorter would be found inside of ordinary words.
const SHORTEST_NAME: usize = 3;

/// What is to be hidden.
#[derive(Debug, Default)]
pub(super) struct Mask {
    /// Texts that are known: names, numbers, descriptions; the longest first.
    known: Vec<String>,
    home: Option<String>,
}

impl Mask {
    /// A mask that knows the home folder of whoever runs this, and these texts.
    pub(super) fn of(known: impl IntoIterator<Item = String>) -> Self {
        let mut known: Vec<String> = known
            .into_iter()
            .filter(|text| text.chars().count() >= SHORTEST_NAME)
            .collect();
        known.sort_by_key(|text| std::cmp::Reverse(text.len()));
        let home = std::env::var("HOME").ok().filter(|home| home.len() > 1);
        Self { known, home }
    }

    /// A sentence, a path, a line of the log.
    pub(super) fn text(&self, text: &str) -> String {
        self.masked(text, true)
    }

    /// The same where numbers are figures.
    pub(super) fn figures(&self, text: &str) -> String {
        self.masked(text, false)
    }

    /// Every text inside of a value; keys and numbers stay.
    pub(super) fn json(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(items) => items.iter().map(|item| self.json(item)).collect(),
            Value::Object(fields) => {
                let fields = fields.iter().map(|(name, value)| (name.clone(), self.json(value)));
                Value::Object(fields.collect())
            }
            other => other.clone(),
        }
    }

    fn masked(&self, text: &str, digits: bool) -> String {
        let mut text = text.to_owned();
        for known in &self.known {
            text = text.replace(known.as_str(), "[name]");
        }
        if let Some(home) = &self.home {
            text = text.replace(home.as_str(), "~");
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let end = rest.find(is_boundary).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            // The part of an address behind its host goes on until the next space, whatever stands inside.
            if let Some(scheme) = word.find("://") {
                let end = rest
                    .find(|one: char| one.is_whitespace() || one == '"')
                    .unwrap_or(rest.len());
                let (address, after) = rest.split_at(end);
                let start = address[..scheme]
                    .rfind(|one: char| !one.is_ascii_alphanumeric())
                    .map_or(0, |at| at + 1);
                out.push_str(&word_masked(&address[..start], digits));
                out.push_str(&web_address(&address[start..]));
                rest = after;
                continue;
            }
            out.push_str(&word_masked(word, digits));
            let mut boundary = after.chars();
            out.extend(boundary.next());
            rest = boundary.as_str();
        }
        out
    }
}

fn is_boundary(one: char) -> bool {
    one.is_whitespace() || "\"'`<>()[]{},;|".contains(one)
}

/// Scheme and host of an address; what follows is left out.
fn web_address(text: &str) -> String {
    let address = text.trim_end_matches(|one: char| ".,;:)]}>'`".contains(one));
    let scheme = address.split("://").next().unwrap_or_default();
    let behind = address.get(scheme.len() + 3..).unwrap_or_default();
    let bare = behind.find(['/', '?', '#']).is_none_or(|at| at + 1 == behind.len());
    format!(
        "{scheme}://{}{}{}",
        host(address),
        if bare { "" } else { "/…" },
        &text[address.len()..]
    )
}

fn word_masked(word: &str, digits: bool) -> String {
    // An address without its scheme: whatever is asked of it.
    if let Some((path, query)) = word.split_once('?')
        && !query.is_empty()
    {
        return format!("{}?…", word_masked(path, digits));
    }
    if word.contains('=') {
        let parts: Vec<String> = word.split('=').map(|part| word_masked(part, digits)).collect();
        return parts.join("=");
    }
    if word.contains('@') {
        return "[address]".to_owned();
    }
    for secret in ["zpk_", "whsec_"] {
        if let Some(at) = word.find(secret) {
            return format!("{}{secret}…", &word[..at]);
        }
    }
    if let Some(path) = word.strip_prefix("/home/").or_else(|| word.strip_prefix("/Users/")) {
        let behind = path.find('/').map_or("", |at| &path[at..]);
        return format!("/home/…{}", word_masked(behind, digits));
    }
    if let Some((prefix, random)) = word.split_once('_')
        && prefix.bytes().all(|one| one.is_ascii_lowercase())
        && random.len() >= ID
        && random.bytes().take(ID).all(|one| one.is_ascii_alphanumeric())
        && random.bytes().any(|one| one.is_ascii_digit())
    {
        return format!("{prefix}_…");
    }
    if digits && looks_random(word) {
        return "[…]".to_owned();
    }
    if digits { digits_masked(word) } else { word.to_owned() }
}

fn looks_random(word: &str) -> bool {
    let is_path = word.starts_with(['/', '~', '.']);
    let count = |wanted: fn(&u8) -> bool| word.bytes().filter(wanted).count();
    word.len() >= RANDOM
        && !is_path
        && word
            .bytes()
            .all(|one| one.is_ascii_alphanumeric() || b"+/_-.".contains(&one))
        && count(u8::is_ascii_digit) >= 4
        && count(u8::is_ascii_alphabetic) >= 4
        && word.parse::<Timestamp>().is_err()
}

/// Rows of digits, also with dashes in between; a date is none.
fn digits_masked(word: &str) -> String {
    if word.parse::<Timestamp>().is_ok() || is_date(word.trim_end_matches(['.', ':'])) {
        return word.to_owned();
    }
    let mut out = String::new();
    let mut rest = word;
    while !rest.is_empty() {
        let is_row = |one: char| one.is_ascii_digit() || one == '-';
        let end = rest.find(|one| !is_row(one)).unwrap_or(rest.len());
        let (row, after) = rest.split_at(end);
        if row.bytes().filter(u8::is_ascii_digit).count() >= DIGITS {
            out.push_str("[number]");
        } else {
            out.push_str(row);
        }
        let end = after.find(is_row).unwrap_or(after.len());
        out.push_str(&after[..end]);
        rest = &after[end..];
    }
    out
}

fn is_date(word: &str) -> bool {
    format!("{word}T00:00:00Z").parse::<Timestamp>().is_ok()
}

/// A path with the home folder left out.
pub(super) fn path(mask: &Mask, path: &Path) -> String {
    mask.text(&path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask() -> Mask {
        Mask {
            known: vec!["Ana's shop".into(), "Café".into()],
            home: Some("/home/ana".into()),
        }
    }

    #[test]
    fn what_could_be_somebodys_is_taken_out() {
        for (text, expected) in [
            ("linked 5511988880001 now", "linked [number] now"),
            ("+55 11 98888-0001", "+55 11 [number]"),
            ("(5511988880001)", "([number])"),
            ("jid=5511988880001@s.whatsapp.net", "jid=[address]"),
            ("5511988880001:12@lid", "[address]"),
            ("ana@example.org wrote", "[address] wrote"),
            ("\"Ana's shop\" and Café", "\"[name]\" and [name]"),
            ("inst_01JD3K7Q8Z9XABCDEFGHJKMNPQ is failed", "inst_… is failed"),
            ("instance.id=inst_01JD3K7Q8Z9XABCDEFGHJKMNPQ: x", "instance.id=inst_… x"),
            ("key zpk_live_AbC-_1", "key zpk_…"),
            ("secret whsec_abc", "secret whsec_…"),
            (
                "posting to https://user:pw@hooks.example:8443/p/ath?token=s3(cret)#x, then",
                "posting to https://hooks.example:8443/…, then",
            ),
            ("(https://hooks.example/)", "(https://hooks.example)"),
            ("url=wss://web.whatsapp.com/ws/chat", "url=wss://web.whatsapp.com/…"),
            ("hooks.example/path?token=secret", "hooks.example/path?…"),
            ("/home/ana/state and /home/bob/state", "~/state and /home/…/state"),
            ("/home/bob", "/home/…"),
            ("3f2a9c0b1d4e5f60718293a4b5c6d7e8", "[…]"),
        ] {
            assert_eq!(mask().text(text), expected);
        }
    }

    #[test]
    fn what_helps_stays() {
        for text in [
            "2026-11-22T18:04:58.123Z whatisup::cli::serve: listening on 127.0.0.1:8080",
            "10 GB of 20 GB free on ext4",
            "web.whatsapp.com has 2 IPv4 and 2 IPv6 addresses",
            "/var/lib/whatisup is for uid 1000 alone (mode 700)",
            "since 2026-11-22, limits.max_connections",
            "state=/var/lib/private/whatisup version=0.1.0",
        ] {
            assert_eq!(mask().text(text), text);
        }
    }

    #[test]
    fn figures_keep_their_digits_and_lose_their_ids() {
        let text = "whatisup_x{endpoint_id=\"whe_01JD3K7Q8Z9XABCDEFGHJKMNPQ\",le=\"0.5\"} 1795370698.123";
        assert_eq!(
            mask().figures(text),
            "whatisup_x{endpoint_id=\"whe_…\",le=\"0.5\"} 1795370698.123"
        );
    }

    #[test]
    fn keys_and_numbers_of_a_value_stay() {
        let value = serde_json::json!({"free_bytes": 123_456_789, "list": ["5511988880001", true]});
        let expected = serde_json::json!({"free_bytes": 123_456_789, "list": ["[number]", true]});
        assert_eq!(mask().json(&value), expected);
    }
}
