//! What differs between two configurations, for whoever reads the settings again.

use toml::Value;

use super::Config;
use super::reference::{Setting, settings};
use crate::sys::secret::MASK;

/// A setting that is not what it was; secrets are masked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Changed {
    /// Which.
    pub path: &'static str,
    /// What it was.
    pub from: String,
    /// What it is.
    pub to: String,
}

/// Every setting that differs.
pub fn changes(old: &Config, new: &Config) -> Vec<Changed> {
    let values = |config: &Config| Value::try_from(config).expect("a configuration is a TOML table");
    let (old_values, new_values) = (values(old), values(new));
    let differing = settings().iter().filter_map(|setting| {
        let (from, to) = (shown(&old_values, setting), shown(&new_values, setting));
        let differs = if setting.secret {
            secret(old, setting) != secret(new, setting)
        } else {
            from != to
        };
        differs.then_some(Changed {
            path: &setting.path,
            from,
            to,
        })
    });
    differing.collect()
}

fn shown(values: &Value, setting: &Setting) -> String {
    let value = setting.path.split('.').try_fold(values, |value, part| value.get(part));
    match value {
        None => "not set".to_owned(),
        Some(_) if setting.secret => MASK.to_owned(),
        Some(value) => value.to_string(),
    }
}

/// Secrets look alike wherever they are shown, so these are compared themselves.
fn secret<'a>(config: &'a Config, setting: &Setting) -> Option<&'a str> {
    let secret = match setting.path.as_str() {
        "bootstrap_key" => &config.bootstrap_key,
        "pepper" => &config.pepper,
        "secrets_key" => &config.secrets_key,
        "dashboard.password" => &config.dashboard.password,
        _ => return None,
    };
    secret.as_ref().map(crate::sys::secret::Secret::expose)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::secret::Secret;

    #[test]
    fn what_differs_is_named_with_both_values_and_secrets_without() {
        let old = Config::default();
        assert_eq!(changes(&old, &old), []);
        let mut new = old.clone();
        new.limits.burst = 7;
        new.cors.origins = vec!["https://a.example".into()];
        new.state = Some("/elsewhere".into());
        let said: Vec<String> = changes(&old, &new)
            .into_iter()
            .map(|changed| format!("{}: {} -> {}", changed.path, changed.from, changed.to))
            .collect();
        assert_eq!(
            said,
            [
                "state: not set -> \"/elsewhere\"",
                "limits.burst: 120 -> 7",
                "cors.origins: [\"*\"] -> [\"https://a.example\"]",
            ]
        );
    }

    #[test]
    fn every_secret_is_noticed_and_none_is_shown() {
        for setting in settings().iter().filter(|setting| setting.secret) {
            let with = |text: &str| {
                let mut config = Config::default();
                let secret = Some(Secret::new(text.to_owned()));
                match setting.path.as_str() {
                    "bootstrap_key" => config.bootstrap_key = secret,
                    "pepper" => config.pepper = secret,
                    "secrets_key" => config.secrets_key = secret,
                    "dashboard.password" => config.dashboard.password = secret,
                    other => panic!("{other} is not compared"),
                }
                config
            };
            let found = changes(&with("old words"), &with("new words"));
            assert_eq!(found.len(), 1, "{}", setting.path);
            assert!(!format!("{found:?}").contains("words"), "{found:?}");
            assert_eq!(changes(&with("old words"), &with("old words")), []);
        }
    }
}
