//! Prints the effective configuration as a TOML file that explains itself.

use std::fmt::Write;

use toml::Value;

use super::Loaded;
use super::reference::{Setting, group_help, settings};
use crate::sys::secret::MASK;

/// Comments are wrapped to this many characters.
const WIDTH: usize = 100;

/// The configuration as commented TOML: what has its default or is a secret stands behind a `#`, so that the output
/// can be saved as a configuration file and says only what was meant.
pub fn commented_toml(loaded: &Loaded) -> String {
    let values = Value::try_from(&loaded.config).expect("a configuration is a TOML table");
    let mut text = String::from("# Settings of WhatIsUp. A line behind a # shows a default, or a secret's place.\n");
    let mut group = "";
    for setting in settings() {
        let (within, name) = setting.path.rsplit_once('.').unwrap_or(("", &setting.path));
        if within != group {
            group = within;
            text.push('\n');
            comment(&mut text, &group_help(group));
            let _ = writeln!(text, "[{group}]");
        }
        text.push('\n');
        comment(&mut text, &setting.help);
        let value = setting.path.split('.').try_fold(&values, |value, part| value.get(part));
        line(&mut text, loaded, setting, name, value);
    }
    text
}

fn line(text: &mut String, loaded: &Loaded, setting: &Setting, name: &str, value: Option<&Value>) {
    let source = loaded.sources.get(&setting.path);
    let _ = match (source, value) {
        (Some(source), _) if setting.secret => writeln!(text, "# {name} = \"{MASK}\"  # {source}"),
        (None, _) if setting.in_environment => {
            let file = setting.variable();
            writeln!(text, "# {name}: not set ({file} or {})", file.trim_end_matches("_FILE"))
        }
        (None, _) if setting.secret => writeln!(text, "# {name}: not set ({})", setting.variable()),
        (Some(source), Some(value)) => writeln!(text, "{name} = {value}  # {source}"),
        (None, Some(value)) => writeln!(text, "# {name} = {value}"),
        (_, None) => writeln!(text, "# {name} = …"),
    };
}

fn comment(text: &mut String, help: &str) {
    let mut length = 0;
    for word in help.split_whitespace() {
        if length == 0 || length + word.len() + 1 > WIDTH {
            if length > 0 {
                text.push('\n');
            }
            text.push('#');
            length = 1;
        }
        text.push(' ');
        text.push_str(word);
        length += word.len() + 1;
    }
    if length > 0 {
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Layers, load};
    use super::*;

    #[test]
    fn what_is_shown_can_be_read_back_and_says_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("whatisup.toml");
        std::fs::write(
            &path,
            "listen = \"127.0.0.1:0\"\n[cors]\norigins = [\"https://a.example\"]\n",
        )
        .unwrap();
        let layers = Layers {
            file: Some(path.clone()),
            ..Layers::default()
        };
        let first = load(&layers).unwrap();
        std::fs::write(&path, commented_toml(&first)).unwrap();
        assert_eq!(load(&layers).unwrap().config, first.config);
    }

    #[test]
    fn a_secret_is_masked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let key = format!("zpk_live_{}", "A".repeat(43));
        std::fs::write(&path, &key).unwrap();
        let loaded = load(&Layers {
            environment: vec![("WHATISUP_BOOTSTRAP_KEY_FILE".into(), path.into())],
            ..Layers::default()
        })
        .unwrap();
        let shown = commented_toml(&loaded);
        assert!(shown.contains(MASK) && !shown.contains(&key));
    }
}
