//! The list of settings, read off the struct: path, kind and help come from the fields and their docs, so that
//! neither the file reader nor the printed reference can drift from what the program understands.

use std::sync::OnceLock;

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::Config;

/// What form a value has where everything is text: in the environment and on the command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// As it stands.
    Text,
    /// A whole number.
    Number,
    /// `true` or `false`.
    Switch,
    /// Texts, joined by commas.
    List,
}

/// One setting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting {
    /// Its name everywhere: `limits.burst`.
    pub path: String,
    /// The form of its value.
    pub kind: Kind,
    /// What it does.
    pub help: String,
    /// Whether it comes from a file of its own and is never shown.
    pub secret: bool,
    /// Whether a secret may stand in the environment itself as well.
    pub in_environment: bool,
}

impl Setting {
    /// The environment variable: `WHATISUP_LIMITS_BURST`, and for a secret the one that names its file.
    pub fn variable(&self) -> String {
        let name = format!("WHATISUP_{}", self.path.replace('.', "_").to_uppercase());
        if self.secret { name + "_FILE" } else { name }
    }
}

/// Every setting, in the order of the struct.
pub fn settings() -> &'static [Setting] {
    static SETTINGS: OnceLock<Vec<Setting>> = OnceLock::new();
    SETTINGS.get_or_init(|| {
        let mut found = Vec::new();
        collect(&schema(), "", &mut found);
        found
    })
}

/// What the struct's docs say about a group of settings, such as `limits`.
pub(super) fn group_help(group: &str) -> String {
    help(&schema()["properties"][group])
}

fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<Config>().to_value()
}

fn collect(schema: &Value, prefix: &str, found: &mut Vec<Setting>) {
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    for (name, property) in properties {
        let path = format!("{prefix}{name}");
        if property.get("properties").is_some() {
            collect(property, &format!("{path}."), found);
            continue;
        }
        found.push(Setting {
            kind: kind(property),
            help: help(property),
            secret: property["x-secret"] == true,
            in_environment: property["x-environment"] == true,
            path,
        });
    }
}

fn kind(property: &Value) -> Kind {
    let is = |name: &str| {
        property["type"] == name
            || property["type"]
                .as_array()
                .is_some_and(|types| types.iter().any(|one| one == name))
    };
    if is("integer") {
        Kind::Number
    } else if is("boolean") {
        Kind::Switch
    } else if is("array") {
        Kind::List
    } else {
        Kind::Text
    }
}

/// Doc comments are wrapped for the source; the reference is wrapped again where it is printed.
fn help(property: &Value) -> String {
    let text = property["description"].as_str().unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_a_help_text_and_a_kind_that_fits_its_default() {
        let defaults = toml::Value::try_from(Config::default()).unwrap();
        for setting in settings() {
            assert!(setting.help.len() > 20, "{} has no help", setting.path);
            let value = setting
                .path
                .split('.')
                .try_fold(&defaults, |value, part| value.get(part));
            let expected = match value {
                Some(toml::Value::Integer(_)) => Kind::Number,
                Some(toml::Value::Boolean(_)) => Kind::Switch,
                Some(toml::Value::Array(_)) => Kind::List,
                _ => Kind::Text,
            };
            assert_eq!(setting.kind, expected, "{}", setting.path);
        }
    }

    #[test]
    fn the_settings_of_the_contract_exist() {
        let paths: Vec<_> = settings().iter().map(|setting| setting.path.as_str()).collect();
        for wanted in [
            "listen",
            "state",
            "admin_socket",
            "bootstrap_key",
            "log.level",
            "limits.burst",
            "cors.origins",
            "journal.max_bytes",
            "store.cache_bytes",
            "whatsapp.url",
        ] {
            assert!(paths.contains(&wanted), "{wanted} is missing from {paths:?}");
        }
    }

    #[test]
    fn a_secret_is_named_by_a_file_variable() {
        let variable = |path: &str| {
            settings()
                .iter()
                .find(|setting| setting.path == path)
                .unwrap()
                .variable()
        };
        assert_eq!(variable("bootstrap_key"), "WHATISUP_BOOTSTRAP_KEY_FILE");
        assert_eq!(variable("limits.per_second"), "WHATISUP_LIMITS_PER_SECOND");
    }
}
