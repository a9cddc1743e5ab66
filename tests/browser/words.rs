//! Words: three languages that say the same, and nothing that was forgotten.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::driver::{Browser, demonstration};

const LANGUAGES: [&str; 3] = ["en", "pt", "es"];

/// The page's own files.
fn scripts(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            scripts(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "js") && !path.ends_with("en.js") {
            found.push(path);
        }
    }
}

/// The words of a language by key: their text, or for a sentence with parts how many it takes.
async fn words(browser: &Browser, language: &str) -> Value {
    let script = format!(
        "import('/i18n/{language}.js').then((file) => Object.fromEntries(Object.entries(file.default)\
            .map(([key, word]) => [key, typeof word === 'string' ? word : word.length])))"
    );
    browser.evaluate(&script, None).await
}

/// What stands before and after the part that is put in, of a call that begins here: `ask`, `Text` of `ask${verb}Text`.
fn made_up(call: &str) -> Option<(&str, &str)> {
    let (key, _) = call.split_once('`')?;
    let (start, rest) = key.split_once("${")?;
    let (_, end) = rest.rsplit_once('}')?;
    (!start.is_empty() || !end.is_empty()).then_some((start, end))
}

fn fits(key: &str, start: &str, end: &str) -> bool {
    key.len() > start.len() + end.len() && key.starts_with(start) && key.ends_with(end)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_language_has_every_word_and_every_word_is_used() {
    let gateway = demonstration().await;
    let browser = Browser::start().await;
    browser.goto(gateway.client.base()).await;
    let english = words(&browser, "en").await;
    let english = english.as_object().unwrap();
    let mut faults = Vec::new();
    let portuguese = words(&browser, "pt").await;
    let spanish = words(&browser, "es").await;
    for (language, other, against) in [("pt", &portuguese, &spanish), ("es", &spanish, &portuguese)] {
        let other = other.as_object().unwrap();
        let known = english.iter().chain(against.as_object().unwrap());
        for (key, word) in known {
            match other.get(key) {
                None => faults.push(format!("{language} lacks {key}")),
                Some(same) if same.is_number() != word.is_number() || (word.is_number() && same != word) => {
                    faults.push(format!("{language} takes other parts for {key}"));
                }
                Some(Value::String(text)) if text.trim().is_empty() => {
                    faults.push(format!("{language}: {key} is empty"));
                }
                Some(_) => {}
            }
        }
        // The server speaks English by itself.
        let servers = ["error.", "reason.", "problem."];
        let own = other.keys().filter(|key| !english.contains_key(*key));
        faults.extend(
            own.filter(|key| !servers.iter().any(|start| key.starts_with(start)))
                .map(|key| format!("only {language} has {key}")),
        );
    }

    let mut files = Vec::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/ui");
    scripts(&folder, &mut files);
    let mut all = String::new();
    for file in &files {
        if LANGUAGES
            .iter()
            .any(|language| file.ends_with(format!("i18n/{language}.js")))
        {
            continue;
        }
        let text = std::fs::read_to_string(file).unwrap();
        for called in text.split("t('").skip(1).zip(text.split("t('")) {
            let (rest, before) = called;
            // `t(` as a call of its own, not the end of another name.
            if before.ends_with(|last: char| last.is_alphanumeric() || "_$.#".contains(last)) {
                continue;
            }
            let key = rest.split('\'').next().unwrap();
            let whole = [")", ","].iter().any(|next| rest[key.len() + 1..].starts_with(next));
            if whole && !english.contains_key(key) {
                faults.push(format!("{} uses {key}, which no language has", file.display()));
            }
        }
        all.push_str(&text);
    }
    let made: Vec<(&str, &str)> = all.split("t(`").skip(1).filter_map(made_up).collect();
    for key in english.keys() {
        let quoted = [
            format!("'{key}'"),
            format!("`{key}`"),
            format!("\"{key}\""),
            format!(" {key}: "),
        ];
        // `tick.${state}`, `${verb}Text`: a key that is put together from what the API calls it.
        let dotted = key
            .split_once('.')
            .is_some_and(|(start, _)| all.contains(&format!("{start}.${{")));
        let made = dotted || made.iter().any(|(start, end)| fits(key, start, end));
        if !made && !quoted.iter().any(|one| all.contains(one)) {
            faults.push(format!("nothing uses {key}"));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Texts of the page that are keys, or English where another language has words of its own. Code is English.
const FOREIGN: &str = "Promise.all(['en', document.documentElement.lang.slice(0, 2)].map((one) => import(`/i18n/${one}.js`)))
    .then(([{default: english}, {default: own}]) => {
        const spoken = new Set(Object.values(own));
        const left = new Set(Object.entries(english).filter(([key, word]) => typeof word === 'string' && word !== own[key] && !spoken.has(word)).map(([, word]) => word));
        const starts = new Set(Object.keys(english).filter((key) => key.includes('.')).map((key) => key.split('.')[0]));
        const wrong = (text) => left.has(text) || (text in english && !spoken.has(text))
            || /^[a-z]\\w*\\.[\\w.]+$/i.test(text) && starts.has(text.split('.')[0]);
        const found = [];
        const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        while (walker.nextNode()) {
            const text = walker.currentNode.data.trim();
            const code = walker.currentNode.parentElement.closest('code, pre, .mono, .ev button, [data-own]');
            if (text && !code && wrong(text)) found.push(text);
        }
        for (const one of document.querySelectorAll('[aria-label], [title], [placeholder]')) {
            for (const name of ['aria-label', 'title', 'placeholder']) {
                const text = one.getAttribute(name);
                if (text && wrong(text)) found.push(`${name}: ${text}`);
            }
        }
        return found;
    })";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_room_speaks_portuguese_and_spanish_and_fits_the_smallest_phones() {
    let gateway = demonstration().await;
    let browser = Browser::start().await;
    browser.open(&gateway, "#/").await;
    let id = gateway.client.get("/v1/instances").returns(200).await["data"][0]["id"].clone();
    let endpoint = json!({"url": "http://127.0.0.1:9999/hook", "events": ["*"], "enabled": false});
    gateway
        .client
        .post("/v1/webhook-endpoints", &endpoint)
        .returns(201)
        .await;
    let instance = format!("#/instances/{}", id.as_str().unwrap());
    let mut faults = Vec::new();
    for language in ["pt", "es"] {
        browser.width(1280).await;
        browser.language(language).await;
        for (name, room) in [
            ("overview", "#/"),
            ("events", "#/events"),
            ("webhooks", "#/webhooks"),
            ("keys", "#/keys"),
            ("system", "#/system"),
            ("instance", instance.as_str()),
        ] {
            browser.visit(room).await;
            browser.see("#view h1").await;
            // What is empty for good, as the sign-ins are for a key, has nothing to say either.
            if room == "#/keys" || room == "#/system" {
                browser.see("wu-living *").await;
            }
            let foreign = browser.evaluate(FOREIGN, None).await;
            for text in foreign.as_array().unwrap() {
                faults.push(format!("{language} {room}: {text}"));
            }
            for width in [320, 390, 760, 920, 1280] {
                browser.width(width).await;
                for wide in browser.sideways().await {
                    faults.push(format!("{language} {room} at {width}: {wide}"));
                }
            }
            browser.picture(&format!("{name}-{language}"), "light", 390).await;
        }
    }
    let complaints = browser.complaints().await;
    assert!(
        faults.is_empty() && complaints.is_empty(),
        "{faults:#?} {complaints:#?}"
    );
}
