//! Puts the layers of settings on top of each other and says precisely what is wrong with which.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::reference::{Kind, Setting, settings};
use super::{Config, validate};
use crate::sys::secret;

/// Where a value comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// The configuration file.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// The command line.
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::File(path) => write!(f, "{}", path.display()),
            Source::Environment(name) => write!(f, "environment variable {name}"),
            Source::Flag(flag) => write!(f, "command line, {flag}"),
        }
    }
}

/// A value from the command line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Flag {
    /// How the person wrote it: `--listen`, `--set`.
    pub flag: String,
    /// Which setting.
    pub path: String,
    /// As text.
    pub value: OsString,
}

/// What is put on top of the defaults, lowest first.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// The configuration file, if one is named on the command line; else `WHATISUP_CONFIG` may name one.
    pub file: Option<PathBuf>,
    /// Read when nobody names a file, if it is there: the settings of a service.
    pub default_file: Option<PathBuf>,
    /// The environment of the process; variables that do not begin with `WHATISUP_` are ignored.
    pub environment: Vec<(OsString, OsString)>,
    /// The command line.
    pub flags: Vec<Flag>,
}

/// The effective configuration and how it came about.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// Which setting was given by whom; what is missing here has its default.
    pub sources: BTreeMap<String, Source>,
    /// What is odd but no reason to stop.
    pub warnings: Vec<String>,
}

/// Everything that is wrong with the configuration, at once.
#[derive(Debug, thiserror::Error)]
pub struct ConfigError {
    /// One sentence each.
    pub problems: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [one] => write!(f, "the configuration cannot be used: {one}"),
            many => {
                write!(f, "the configuration cannot be used:")?;
                many.iter().try_for_each(|problem| write!(f, "\n  - {problem}"))
            }
        }
    }
}

/// The variable that names the configuration file.
const FILE_VARIABLE: &str = "WHATISUP_CONFIG";

/// Variables of single commands, which are no settings.
const OF_COMMANDS: &[&str] = &["WHATISUP_BACKUP_PASSPHRASE", "WHATISUP_BACKUP_PASSPHRASE_FILE"];

impl Layers {
    /// The file with settings: the one that is named, else the default one if it is there.
    pub fn file_in_use(&self) -> Option<PathBuf> {
        let named = self.environment.iter().find(|(name, _)| name == FILE_VARIABLE);
        let named = self
            .file
            .clone()
            .or_else(|| named.map(|(_, value)| PathBuf::from(value)));
        // One that is there and cannot be read is a problem, as if somebody had named it.
        let by_default = || self.default_file.clone().filter(|file| file.symlink_metadata().is_ok());
        named.or_else(by_default)
    }
}

/// Reads the layers and checks the outcome.
pub fn load(layers: &Layers) -> Result<Loaded, ConfigError> {
    let mut assembly = Assembly::new();
    if let Some(file) = layers.file_in_use() {
        assembly.add_file(&file);
    }
    assembly.add_environment(&layers.environment);
    for flag in &layers.flags {
        assembly.add_flag(flag);
    }
    assembly.finish()
}

struct Assembly {
    values: Table,
    sources: BTreeMap<String, Source>,
    warnings: Vec<String>,
    problems: Vec<String>,
}

impl Assembly {
    fn new() -> Self {
        Self {
            values: Table::try_from(Config::default()).expect("the default configuration is a TOML table"),
            sources: BTreeMap::new(),
            warnings: Vec::new(),
            problems: Vec::new(),
        }
    }

    fn add_file(&mut self, file: &Path) {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) => {
                self.problems
                    .push(format!("the file {} cannot be read: {error}", file.display()));
                return;
            }
        };
        match text.parse::<Table>() {
            Ok(table) => self.add_table(file, "", &table),
            Err(error) => self.problems.push(format!(
                "{} is not TOML: {}",
                file.display(),
                error.to_string().trim_end()
            )),
        }
    }

    fn add_table(&mut self, file: &Path, prefix: &str, table: &Table) {
        for (name, value) in table {
            let path = format!("{prefix}{name}");
            let inside = format!("{path}.");
            if let Some(setting) = settings().iter().find(|setting| setting.path == path) {
                if setting.secret {
                    self.problems.push(format!(
                        "{path} in {}: a secret does not belong in this file; put it into one of its own and name that with {}",
                        file.display(),
                        setting.variable()
                    ));
                } else {
                    self.set(setting, value, Source::File(file.to_owned()));
                }
            } else if settings().iter().any(|setting| setting.path.starts_with(&inside)) {
                match value {
                    Value::Table(table) => self.add_table(file, &inside, table),
                    _ => self
                        .problems
                        .push(format!("{path} in {}: must be a table, [{path}]", file.display())),
                }
            } else {
                self.problems.push(format!(
                    "{path} in {}: no such setting; {}",
                    file.display(),
                    known(prefix)
                ));
            }
        }
    }

    fn add_environment(&mut self, environment: &[(OsString, OsString)]) {
        for (name, value) in environment {
            let Some(name) = name.to_str().filter(|name| name.starts_with("WHATISUP_")) else {
                continue;
            };
            if name == FILE_VARIABLE || OF_COMMANDS.contains(&name) {
                continue;
            }
            let source = Source::Environment(name.to_owned());
            if let Some(setting) = settings().iter().find(|setting| setting.variable() == name) {
                if setting.secret {
                    self.require_once(setting);
                    match secret::read(Path::new(value)) {
                        Ok(text) => self.set(setting, &Value::String(text.expose().to_owned()), source),
                        Err(problem) => self.problems.push(format!("{name}: {problem}")),
                    }
                    if secret::is_exposed(Path::new(value)) {
                        self.warnings.push(format!(
                            "the secret in {} can be read by other users; chmod 600 it",
                            Path::new(value).display()
                        ));
                    }
                } else {
                    self.set_text(setting, value, source);
                }
            } else if let Some(setting) = settings()
                .iter()
                .find(|setting| setting.secret && setting.variable() == format!("{name}_FILE"))
            {
                if setting.in_environment {
                    self.require_once(setting);
                    self.set_text(setting, value, source);
                    continue;
                }
                self.problems.push(format!("{name}: a secret is not read from the environment; put it into a file and name that with {name}_FILE"));
            } else {
                self.warnings.push(format!(
                    "the environment variable {name} is no setting of this program; it is ignored"
                ));
            }
        }
    }

    /// A secret that comes from two places of the environment: nobody could say which one wins.
    fn require_once(&mut self, setting: &Setting) {
        if let Some(other) = self.sources.get(&setting.path) {
            self.problems.push(format!(
                "{} comes from {other} already; name it once, as {}",
                setting.path,
                setting.variable()
            ));
        }
    }

    fn add_flag(&mut self, flag: &Flag) {
        let Some(setting) = settings().iter().find(|setting| setting.path == flag.path) else {
            let prefix = flag.path.rsplit_once('.').map(|(group, _)| format!("{group}."));
            let hint = known(prefix.as_deref().unwrap_or_default());
            self.problems
                .push(format!("{} {}: no such setting; {hint}", flag.flag, flag.path));
            return;
        };
        if setting.secret {
            self.problems.push(format!(
                "{} {}: a secret is not read from the command line; put it into a file and name that with {}",
                flag.flag,
                flag.path,
                setting.variable()
            ));
            return;
        }
        self.set_text(setting, &flag.value, Source::Flag(flag.flag.clone()));
    }

    /// Reads a value from where everything is text.
    fn set_text(&mut self, setting: &Setting, text: &OsString, source: Source) {
        let Some(text) = text.to_str() else {
            self.problems
                .push(format!("{} ({source}): must be UTF-8", setting.path));
            return;
        };
        let value = match setting.kind {
            Kind::Text => Some(Value::String(text.to_owned())),
            Kind::Number => text.trim().replace('_', "").parse().ok().map(Value::Integer),
            Kind::Switch => text.trim().parse().ok().map(Value::Boolean),
            Kind::List => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Some(Value::Array(items.map(|item| Value::String(item.to_owned())).collect()))
            }
        };
        if let Some(value) = value {
            self.set(setting, &value, source);
            return;
        }
        let wanted = if setting.kind == Kind::Number {
            "a whole number"
        } else {
            "true or false"
        };
        self.problems
            .push(format!("{} ({source}): must be {wanted}, not \"{text}\"", setting.path));
    }

    /// Sets one value and reads the whole again at once, so that a problem has the name of its setting.
    fn set(&mut self, setting: &Setting, value: &Value, source: Source) {
        let mut changed = self.values.clone();
        let mut table = &mut changed;
        let mut parts = setting.path.split('.').peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                table.insert(part.to_owned(), value.clone());
                break;
            }
            let inner = table.entry(part).or_insert_with(|| Value::Table(Table::new()));
            let Value::Table(inner) = inner else { break };
            table = inner;
        }
        match changed.clone().try_into::<Config>() {
            Ok(_) => {
                self.values = changed;
                self.sources.insert(setting.path.clone(), source);
            }
            Err(error) => {
                let why = error.message().lines().next().unwrap_or_default();
                let why = if setting.path == "listen" {
                    "must be ADDRESS:PORT, for example 127.0.0.1:8080 or [::1]:8080"
                } else {
                    why
                };
                self.problems.push(format!("{} ({source}): {why}", setting.path));
            }
        }
    }

    fn finish(mut self) -> Result<Loaded, ConfigError> {
        let config: Config = self
            .values
            .try_into()
            .expect("every layer was read back when it was added");
        for (path, problem) in validate::problems(&config) {
            let source = self
                .sources
                .get(path)
                .map(|source| format!(" ({source})"))
                .unwrap_or_default();
            self.problems.push(format!("{path}{source}: {problem}"));
        }
        if self.problems.is_empty() {
            Ok(Loaded {
                config,
                sources: self.sources,
                warnings: self.warnings,
            })
        } else {
            Err(ConfigError {
                problems: self.problems,
            })
        }
    }
}

/// What there is beside an unknown name.
fn known(prefix: &str) -> String {
    let mut names: Vec<&str> = settings()
        .iter()
        .filter_map(|setting| setting.path.strip_prefix(prefix))
        .filter_map(|rest| rest.split('.').next())
        .collect();
    names.dedup();
    if names.is_empty() {
        return known("");
    }
    let here = prefix.trim_end_matches('.');
    let place = if here.is_empty() {
        "at the top there are".to_owned()
    } else {
        format!("[{here}] has")
    };
    format!("{place} {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("whatisup.toml");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    fn environment(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    fn set(path: &str, value: &str) -> Flag {
        Flag {
            flag: "--set".into(),
            path: path.into(),
            value: value.into(),
        }
    }

    fn problems(layers: &Layers) -> String {
        load(layers).unwrap_err().to_string()
    }

    #[test]
    fn the_default_file_is_read_if_it_is_there_and_nobody_names_another() {
        let (folder, path) = file("[limits]\nburst = 1\n");
        let named = folder.path().join("named.toml");
        std::fs::write(&named, "[limits]\nburst = 2\n").unwrap();
        let by_default = Layers {
            default_file: Some(path),
            ..Layers::default()
        };
        assert_eq!(load(&by_default).unwrap().config.limits.burst, 1);
        let by_variable = Layers {
            environment: environment(&[(FILE_VARIABLE, named.to_str().unwrap())]),
            ..by_default.clone()
        };
        assert_eq!(load(&by_variable).unwrap().config.limits.burst, 2);
        let by_flag = Layers {
            file: Some(named),
            ..by_default
        };
        assert_eq!(load(&by_flag).unwrap().config.limits.burst, 2);

        let absent = Layers {
            default_file: Some(folder.path().join("absent.toml")),
            ..Layers::default()
        };
        assert_eq!(load(&absent).unwrap().config.limits.burst, 120);
        let (_folder, wrong) = file("burst = \n");
        let wrong = Layers {
            default_file: Some(wrong),
            ..Layers::default()
        };
        assert!(problems(&wrong).contains("is not TOML"));
    }

    #[test]
    fn a_later_layer_wins_over_an_earlier_one() {
        let (_folder, path) = file("[limits]\nburst = 1\n");
        for (in_file, in_environment, on_command_line, expected) in [
            (false, None, None, 120),
            (true, None, None, 1),
            (true, Some("2"), None, 2),
            (true, Some("2"), Some("3"), 3),
            (false, Some("2"), None, 2),
            (false, None, Some("3"), 3),
            (true, None, Some("3"), 3),
        ] {
            let layers = Layers {
                default_file: None,
                file: in_file.then(|| path.clone()),
                environment: in_environment
                    .map(|value| environment(&[("WHATISUP_LIMITS_BURST", value)]))
                    .unwrap_or_default(),
                flags: on_command_line
                    .map(|value| set("limits.burst", value))
                    .into_iter()
                    .collect(),
            };
            let loaded = load(&layers).unwrap();
            assert_eq!(loaded.config.limits.burst, expected, "{layers:?}");
            assert_eq!(loaded.config.limits.per_second, 20, "neighbours keep their default");
        }
    }

    #[test]
    fn every_kind_of_value_can_come_from_the_environment() {
        let loaded = load(&Layers {
            environment: environment(&[
                ("WHATISUP_LISTEN", "[::1]:0"),
                ("WHATISUP_STATE", "/somewhere"),
                ("WHATISUP_CORS_ORIGINS", "https://a.example, https://b.example"),
                ("WHATISUP_STORE_CACHE_BYTES", "33_554_432"),
                ("WHATISUP_LOG_FORMAT", "json"),
                ("HOME", "/ignored"),
            ]),
            ..Layers::default()
        })
        .unwrap();
        assert_eq!(loaded.config.listen.to_string(), "[::1]:0");
        assert_eq!(loaded.config.state, Some("/somewhere".into()));
        assert_eq!(loaded.config.cors.origins, ["https://a.example", "https://b.example"]);
        assert_eq!(loaded.config.store.cache_bytes, 33_554_432);
        assert_eq!(loaded.config.log.format, super::super::LogFormat::Json);
        assert!(loaded.warnings.is_empty());
        assert_eq!(loaded.sources["state"], Source::Environment("WHATISUP_STATE".into()));
    }

    #[test]
    fn unknown_settings_in_the_file_are_refused_with_their_path_all_at_once() {
        let (_folder, path) = file("lisen = \"127.0.0.1:1\"\n[limits]\nbrust = 1\n[limit]\nburst = 1\n");
        let text = problems(&Layers {
            file: Some(path),
            ..Layers::default()
        });
        assert!(text.contains("lisen in"), "{text}");
        assert!(text.contains("limits.brust in"), "{text}");
        assert!(text.contains("[limits] has burst, per_second"), "{text}");
        assert!(text.contains("limit in"), "{text}");
    }

    #[test]
    fn an_unknown_variable_warns_and_does_not_stop() {
        let loaded = load(&Layers {
            environment: environment(&[("WHATISUP_LIMITS_BRUST", "1")]),
            ..Layers::default()
        })
        .unwrap();
        assert_eq!(loaded.warnings.len(), 1);
        assert!(loaded.warnings[0].contains("WHATISUP_LIMITS_BRUST"));
    }

    #[test]
    fn a_wrong_value_is_named_with_its_setting_and_its_source() {
        for (name, value, expected) in [
            (
                "WHATISUP_LISTEN",
                "8080",
                "listen (environment variable WHATISUP_LISTEN): must be ADDRESS:PORT",
            ),
            ("WHATISUP_LIMITS_BURST", "many", "must be a whole number, not \"many\""),
            ("WHATISUP_LIMITS_BURST", "-1", "limits.burst (environment"),
            ("WHATISUP_LOG_FORMAT", "xml", "log.format (environment"),
            ("WHATISUP_WHATSAPP_URL", "http://x", "whatsapp.url (environment"),
        ] {
            let text = problems(&Layers {
                environment: environment(&[(name, value)]),
                ..Layers::default()
            });
            assert!(text.contains(expected), "{text}");
        }
        let (_folder, path) = file("[limits]\nburst = \"many\"\n");
        let text = problems(&Layers {
            file: Some(path),
            ..Layers::default()
        });
        assert!(text.contains("limits.burst ("), "{text}");
    }

    #[test]
    fn a_secret_is_read_from_its_own_file_and_from_nowhere_else() {
        let key = format!("zpk_live_{}", "A".repeat(43));
        let (_folder, path) = file(&format!("{key}\n"));
        let name = path.to_str().unwrap();
        let loaded = load(&Layers {
            environment: environment(&[("WHATISUP_BOOTSTRAP_KEY_FILE", name)]),
            ..Layers::default()
        })
        .unwrap();
        assert_eq!(loaded.config.bootstrap_key.as_ref().unwrap().expose(), key);
        assert!(!format!("{loaded:?}").contains(&key), "debug output hides it");

        let text = problems(&Layers {
            environment: environment(&[("WHATISUP_BOOTSTRAP_KEY", &key)]),
            ..Layers::default()
        });
        assert!(
            text.contains("WHATISUP_BOOTSTRAP_KEY_FILE") && !text.contains(&key),
            "{text}"
        );
        let text = problems(&Layers {
            flags: vec![set("bootstrap_key", &key)],
            ..Layers::default()
        });
        assert!(
            text.contains("WHATISUP_BOOTSTRAP_KEY_FILE") && !text.contains(&key),
            "{text}"
        );
        let (_folder, path) = file(&format!("bootstrap_key = \"{key}\"\n"));
        let text = problems(&Layers {
            file: Some(path),
            ..Layers::default()
        });
        assert!(
            text.contains("WHATISUP_BOOTSTRAP_KEY_FILE") && !text.contains(&key),
            "{text}"
        );
    }

    #[test]
    fn the_dashboards_password_comes_from_a_file_or_the_environment_and_is_never_shown() {
        let password = "a quiet yellow lamp";
        let (_folder, path) = file(&format!("{password}\n"));
        let name = path.to_str().unwrap();
        let (value, from_file) = ("WHATISUP_DASHBOARD_PASSWORD", "WHATISUP_DASHBOARD_PASSWORD_FILE");
        for pair in [(value, password), (from_file, name)] {
            let loaded = load(&Layers {
                environment: environment(&[pair]),
                ..Layers::default()
            })
            .unwrap();
            assert_eq!(loaded.config.dashboard.password.as_ref().unwrap().expose(), password);
            let shown = format!("{loaded:?}{}", super::super::commented_toml(&loaded));
            assert!(!shown.contains(password), "{shown}");
        }
        let refused = |layers: Layers, expected: &str| {
            let text = problems(&layers);
            assert!(text.contains(expected) && !text.contains(password), "{text}");
        };
        refused(
            Layers {
                environment: environment(&[(value, password), (from_file, name)]),
                ..Layers::default()
            },
            "name it once",
        );
        refused(
            Layers {
                environment: environment(&[(value, "short")]),
                ..Layers::default()
            },
            "dashboard.password (environment variable WHATISUP_DASHBOARD_PASSWORD): must have at least 10",
        );
        let (_folder, path) = file(&format!("[dashboard]\npassword = \"{password}\"\n"));
        refused(
            Layers {
                file: Some(path),
                ..Layers::default()
            },
            from_file,
        );
        refused(
            Layers {
                flags: vec![set("dashboard.password", password)],
                ..Layers::default()
            },
            from_file,
        );
    }

    #[test]
    fn a_missing_file_and_a_broken_file_are_said_plainly() {
        let text = problems(&Layers {
            file: Some("/does/not/exist.toml".into()),
            ..Layers::default()
        });
        assert!(text.contains("/does/not/exist.toml cannot be read"), "{text}");
        let (_folder, path) = file("limits = [\n");
        let text = problems(&Layers {
            environment: environment(&[("WHATISUP_CONFIG", path.to_str().unwrap())]),
            ..Layers::default()
        });
        assert!(text.contains("is not TOML"), "{text}");
    }
}
