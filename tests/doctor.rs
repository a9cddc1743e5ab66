//! `whatisup doctor`: that it finds what is wrong, that it changes nothing, and that its bundle tells nobody's secrets.

mod bundle;
mod installation;
mod network;

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::harness::Gateway;
use crate::harness::gateway::SANDBOX;

/// What `doctor` said.
struct Told {
    code: Option<i32>,
    checks: Vec<Value>,
}

impl Told {
    /// Every check of this name.
    fn all(&self, name: &str) -> Vec<&Value> {
        self.checks.iter().filter(|check| check["name"] == name).collect()
    }

    /// The only check of this name.
    fn one(&self, name: &str) -> &Value {
        let all = self.all(name);
        assert_eq!(all.len(), 1, "{name}: {all:?}");
        all[0]
    }

    /// Expects how the only check of this name went, and a part of what it found; answers its advice.
    fn says(&self, name: &str, status: &str, part: &str) -> String {
        let check = self.one(name);
        let found = check["found"].as_str().unwrap();
        assert!(check["status"] == status && found.contains(part), "{check}");
        check["advice"].as_str().unwrap_or_default().to_owned()
    }
}

/// Runs a program's `doctor` to its end, with nothing of this test's surroundings.
fn run(program: &Path, args: &[&str], state: &Path) -> Output {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars() {
        if name.starts_with("WHATISUP_") || name.to_lowercase().ends_with("_proxy") || name == "NO_COLOR" {
            command.env_remove(name);
        }
    }
    command
        .arg("doctor")
        .args(args)
        .arg("--state")
        .arg(state)
        .output()
        .unwrap()
}

/// What a program's `doctor --json` said.
fn told_by(program: &Path, args: &[&str], state: &Path) -> Told {
    let output = run(program, &[args, &["--json"]].concat(), state);
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    Told {
        code: output.status.code(),
        checks: report["checks"].as_array().unwrap().clone(),
    }
}

/// The same of the sandbox build.
fn told(args: &[&str], state: &Path) -> Told {
    told_by(Path::new(SANDBOX), args, state)
}

/// The argument that names the address a gateway listens on.
fn listen(gateway: &Gateway) -> String {
    format!("listen={}", gateway.client.base().trim_start_matches("http://"))
}
