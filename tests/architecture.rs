//! Holds the picture of the house: which room may know which, where outside crates live, how long a file may be, and
//! what may be in the dependency graph.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The rooms from low to high; rooms on one line do not know each other.
const LAYERS: &[&[&str]] = &[
    &["sys"],
    &["domain"],
    &["telemetry"],
    &["config"],
    &["store"],
    &["bus"],
    &["engine", "webhooks"],
    &["app"],
    &["http"],
    &["cli"],
];

/// Outside crates and the only places that may name them.
const HOMES: &[(&str, &[&str])] = &[
    ("warp", &["src/http/"]),
    ("redb", &["src/store/"]),
    ("whatsapp_rust", WHATSAPP),
    ("wacore", WHATSAPP),
    ("waproto", WHATSAPP),
    ("clap", &["src/cli/", "src/config/"]),
    ("clap_complete", &["src/cli/"]),
    ("clap_mangen", &["src/cli/"]),
    ("ureq", &["src/engine/"]),
    ("argon2", &["src/app/"]),
    ("cookie", &["src/http/"]),
    ("sd_notify", &["src/sys/"]),
    ("tar", &["src/app/", "src/cli/doctor/", "src/store/tests/"]),
    ("age", &["src/cli/"]),
];

/// WhatsApp's crates: where sessions run, where their keys are kept, and where that keeping is tested.
const WHATSAPP: &[&str] = &["src/engine/", "src/store/session/", "src/store/tests/"];

/// Past this a file is two rooms.
const LONGEST_FILE: usize = 800;

/// Licences of dependencies that may be combined with AGPL-3.0-only.
const LICENCES: &[&str] = &[
    "0BSD",
    "AGPL-3.0-only",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below a folder with one of these endings, as a path from the root and its text.
fn sources(folder: &str, endings: &[&str]) -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            // What the foreign clients bring is nobody's source here.
            if path.is_dir() && !path.ends_with("node_modules") {
                walk(&path, found);
            } else if path.is_file() {
                found.push(path);
            }
        }
    }
    let mut paths = Vec::new();
    walk(&root().join(folder), &mut paths);
    paths.sort();
    paths
        .into_iter()
        .filter(|path| {
            path.extension()
                .is_some_and(|ending| endings.contains(&ending.to_str().unwrap()))
        })
        .map(|path| {
            let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect()
}

/// The code without its line comments, which may name whatever they like.
fn code(text: &str) -> String {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The words that directly follow `prefix`, opening one level of braces: `crate::{bus::Bus, store}` gives two.
fn words_after(code: &str, prefix: &str) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for (start, _) in code.match_indices(prefix) {
        if code[..start].chars().next_back().is_some_and(is_word) {
            continue;
        }
        let rest = &code[start + prefix.len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut word = String::new();
            let mut first = true;
            for character in group.chars() {
                match character {
                    '}' if depth == 0 => break,
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 0 => first = true,
                    _ if depth == 0 && first && is_word(character) => word.push(character),
                    _ => {}
                }
                if !is_word(character) && !word.is_empty() {
                    words.insert(std::mem::take(&mut word));
                    first = character == ',' && depth == 0;
                }
            }
            if !word.is_empty() {
                words.insert(word);
            }
        } else {
            words.insert(rest.chars().take_while(|character| is_word(*character)).collect());
        }
    }
    words
}

fn layer(room: &str) -> Option<usize> {
    LAYERS.iter().position(|rooms| rooms.contains(&room))
}

/// The room a file belongs to; `None` for the programs and the map, which may know everything.
fn room(name: &str) -> Option<&str> {
    let inside = name.strip_prefix("src/")?;
    let room = inside.split('/').next()?;
    let room = room.strip_suffix(".rs").unwrap_or(room);
    (!matches!(room, "lib" | "main" | "bin")).then_some(room)
}

#[test]
fn no_room_knows_a_room_above_or_beside_it() {
    let mut faults = Vec::new();
    for (name, text) in sources("src", &["rs"]) {
        let Some(own) = room(&name) else { continue };
        let Some(height) = layer(own) else {
            faults.push(format!("{name}: the room {own} has no place in the picture"));
            continue;
        };
        for other in words_after(&code(&text), "crate::") {
            match layer(&other) {
                Some(_) if other == own => {}
                Some(its) if its >= height => faults.push(format!("{name} ({own}) names {other}")),
                _ => {}
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn every_outside_crate_stays_in_its_home() {
    let mut faults = Vec::new();
    for (name, text) in sources("src", &["rs"]) {
        let code = code(&text);
        for (krate, homes) in HOMES {
            let named = code.match_indices(krate).any(|(start, _)| {
                let before = code[..start].chars().next_back();
                let after = &code[start + krate.len()..];
                !before.is_some_and(|character| is_word(character) || character == '"' || character == '.')
                    && (after.starts_with("::") || after.starts_with(';'))
            });
            if named && !homes.iter().any(|home| name.starts_with(home)) {
                faults.push(format!("{name} names {krate}, whose home is {homes:?}"));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn the_simulator_does_not_know_the_gateway() {
    let mut faults: Vec<String> = sources("tests/simulator", &["rs"])
        .into_iter()
        .filter(|(_, text)| !words_after(&code(text), "whatisup::").is_empty())
        .map(|(name, _)| name)
        .collect();
    let manifest = fs::read_to_string(root().join("tests/simulator/Cargo.toml")).unwrap();
    if manifest.contains("whatisup") {
        faults.push("tests/simulator/Cargo.toml".into());
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn no_file_has_grown_into_two() {
    let mut faults = Vec::new();
    for folder in ["src", "tests", "assets"] {
        for (name, text) in sources(folder, &["rs", "js", "css"]) {
            let lines = text.lines().count();
            if lines > LONGEST_FILE {
                faults.push(format!("{name}: {lines} lines"));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_lint_is_expected_with_a_reason_and_never_just_allowed() {
    let mut faults = Vec::new();
    for folder in ["src", "tests"] {
        for (name, text) in sources(folder, &["rs"]) {
            let code = code(&text);
            let allow = ["#[", "#!["].map(|open| format!("{open}allow("));
            if allow.iter().any(|attribute| code.contains(attribute)) {
                faults.push(format!("{name}: allow"));
            }
            for (start, opening) in code.match_indices(&format!("#[{}(", "expect")) {
                let attribute = &code[start + opening.len()..];
                let end = attribute.find(")]").unwrap_or(attribute.len());
                if !attribute[..end].contains("reason") {
                    faults.push(format!("{name}: expect without a reason"));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

fn cargo(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(args)
        .args(["--locked", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "cargo {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Every package of a build with the features it is built with.
fn graph(package: &str, features: &[&str]) -> String {
    let question = [
        "tree", "--prefix", "none", "--edges", "no-dev", "--format", "{p} {f}", "-p", package,
    ];
    cargo(&[&question, features].concat())
}

#[test]
fn a_normal_build_has_no_dangerous_feature() {
    let normal = graph("whatisup", &[]);
    let dangers: Vec<&str> = normal.lines().filter(|line| line.contains("danger")).collect();
    assert!(dangers.is_empty(), "{dangers:#?}");
    // The same question about the sandbox finds something, so the question is a good one.
    let sandbox = graph("whatisup", &["--features", "sandbox"]);
    assert!(sandbox.contains("danger-skip-cert-chain-verify"), "{sandbox}");
}

#[test]
fn the_simulator_has_no_dangerous_feature_of_its_own() {
    let tree = graph("whatsapp-simulator", &[]);
    assert!(tree.contains("whatsapp-rust") && !tree.contains("danger"), "{tree}");
}

/// Whether a licence expression can be met from the list: every part of some alternative is on it.
fn is_met(expression: &str) -> bool {
    // `/` is how older manifests write OR. Brackets only ever group an alternative inside an AND.
    let expression = expression.replace('/', " OR ");
    let mut rest = expression.trim();
    let mut parts = Vec::new();
    while let Some(open) = rest.find('(') {
        let close = rest[open..].find(')').map_or(rest.len(), |offset| open + offset);
        if !is_met(&rest[open + 1..close]) {
            return false;
        }
        parts.push(rest[..open].trim().trim_end_matches("AND").trim());
        rest = rest[(close + 1).min(rest.len())..]
            .trim()
            .trim_start_matches("AND")
            .trim();
    }
    parts.push(rest);
    parts.into_iter().filter(|part| !part.is_empty()).all(|part| {
        part.split(" OR ")
            .any(|one| one.split(" AND ").all(|licence| LICENCES.contains(&licence.trim())))
    })
}

#[test]
fn every_dependency_has_a_licence_that_fits() {
    // Without a platform cargo wants the sources for every one, Windows included, which no build ever fetched.
    let about = String::from_utf8(Command::new("rustc").arg("-vV").output().unwrap().stdout).unwrap();
    let platform = about.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let question = [
        "metadata",
        "--format-version",
        "1",
        "--all-features",
        "--filter-platform",
        platform,
    ];
    let metadata: serde_json::Value = serde_json::from_str(&cargo(&question)).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100);
    let faults: Vec<String> = packages
        .iter()
        .filter_map(|package| {
            let licence = package["license"].as_str().unwrap_or("none given");
            (!is_met(licence)).then(|| format!("{}: {licence}", package["name"]))
        })
        .collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn the_checks_above_find_what_they_look_for() {
    let code = "use crate::{bus::{Bus, Ended}, store};\nfn f() { crate::engine::start() }";
    let words: Vec<String> = words_after(code, "crate::").into_iter().collect();
    assert_eq!(words, ["bus", "engine", "store"]);
    assert!(is_met("MIT OR GPL-3.0-only") && is_met("(MIT OR Apache-2.0) AND Unicode-3.0") && is_met("MIT/Apache-2.0"));
    assert!(!is_met("GPL-3.0-only") && !is_met("MIT AND SSPL-1.0") && !is_met("(GPL-2.0-only) AND MIT"));
}
