//! What every command needs to know: the settings, the state folder, the socket, how to print.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::PROGRAM;
use super::arguments::Global;
use super::client::Client;
use super::failure::Failure;
use super::output::Output;
use crate::config::{self, Config, ConfigError, Flag, Layers, Loaded};
use crate::sys::paths::{self, ServicePlaces};

/// What every command needs to know.
pub(super) struct Context {
    /// The settings.
    pub loaded: Loaded,
    /// Where they come from.
    layers: Layers,
    /// The state folder.
    pub state: PathBuf,
    /// The socket of the server on this state folder.
    pub socket: PathBuf,
    /// Whether the folder was chosen because root means the service of this machine.
    is_service: bool,
    /// Standard output.
    pub output: Output,
}

impl Context {
    /// For `serve`: whoever starts a server says where, or means a folder of their own.
    pub(super) fn of_server(global: &Global, flags: Vec<Flag>) -> Result<Self, Failure> {
        Self::read(global, flags, None)
    }

    /// For every other command: as root and without another word it is about the service of this machine.
    pub(super) fn load(global: &Global, flags: Vec<Flag>) -> Result<Self, Failure> {
        let says_where = global.state.is_some() || std::env::var_os("WHATISUP_STATE").is_some();
        let uid = rustix::process::geteuid().as_raw();
        let service = (!says_where)
            .then(|| ServicePlaces::default().administered(PROGRAM, &paths::Environment::of_process(), uid))
            .flatten();
        Self::read(global, flags, service)
    }

    /// Reads the settings and finds the folder: the one that is named, else that of the service, else one's own.
    fn read(global: &Global, mut flags: Vec<Flag>, service: Option<PathBuf>) -> Result<Self, Failure> {
        let folders = [
            ("--state", "state", &global.state),
            ("--admin-socket", "admin_socket", &global.admin_socket),
        ];
        for (flag, path, value) in folders {
            flags.extend(value.as_ref().map(|value| Flag {
                flag: flag.into(),
                path: path.into(),
                value: value.clone().into_os_string(),
            }));
        }
        for pair in &global.set {
            let Some((path, value)) = pair.split_once('=') else {
                return Err(Failure::Usage(format!("--set {pair}: write it as --set SETTING=VALUE")));
            };
            flags.push(Flag {
                flag: "--set".into(),
                path: path.trim().into(),
                value: value.into(),
            });
        }
        let environment = paths::Environment::of_process();
        let default_file = match &service {
            Some(_) => Some(ServicePlaces::default().configuration_file(PROGRAM)),
            None => paths::service_configuration_file(PROGRAM, &environment),
        };
        let layers = Layers {
            file: global.config.clone(),
            default_file,
            environment: std::env::vars_os().collect(),
            flags,
        };
        let loaded = config::load(&layers).map_err(|error| Failure::Usage(error.to_string()))?;
        let is_service = service.is_some() && loaded.config.state.is_none();
        let state = loaded
            .config
            .state
            .clone()
            .or(service)
            .or_else(|| paths::default_state_dir(PROGRAM, &environment))
            .ok_or_else(|| {
                Failure::Usage("there is no home folder to keep the state in; name one with --state".into())
            })?;
        let socket = loaded
            .config
            .admin_socket
            .clone()
            .unwrap_or_else(|| state.join("admin.sock"));
        Ok(Self {
            output: Output { json: global.json },
            loaded,
            layers,
            state,
            socket,
            is_service,
        })
    }

    /// Reads the settings again, from where they came from; the environment is the one of the start, files are read
    /// anew.
    pub(super) fn read_again(&self) -> Result<Loaded, ConfigError> {
        config::load(&self.layers)
    }

    /// The file with settings that is in use.
    pub(super) fn settings_file(&self) -> Option<PathBuf> {
        self.layers.file_in_use()
    }

    /// The settings.
    pub(super) fn config(&self) -> &Config {
        &self.loaded.config
    }

    /// A client of the server that runs on the state folder.
    pub(super) async fn server(&self) -> Result<Client, Failure> {
        self.server_if_any().await?.ok_or_else(|| self.no_server())
    }

    /// The same; `None` when no server runs.
    pub(super) async fn server_if_any(&self) -> Result<Option<Client>, Failure> {
        let client = Client::new(self.socket.clone());
        Ok(client.answers().await?.then_some(client))
    }

    fn no_server(&self) -> Failure {
        let start = if self.is_service {
            format!("systemctl start {PROGRAM}")
        } else {
            format!("{PROGRAM} serve")
        };
        let mut sentence = format!(
            "no server is running on this state folder ({}); start it with `{start}`",
            self.state.display()
        );
        let service = ServicePlaces::default().state_dir(PROGRAM);
        if self.state != service && service.join("admin.sock").exists() {
            let _ = write!(
                sentence,
                ", or name the folder of the one that runs: --state {}",
                service.display()
            );
        }
        Failure::Failed(sentence)
    }
}
