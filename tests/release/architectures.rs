//! The programs of each target: what they need of a system, and that they run there.
//!
//! Those of other processors run under qemu's user mode, which translates the program and hands its system calls to
//! this machine's kernel. The one for 32-bit ARM finds its glibc in Debian's cross packages.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use super::packages;
use crate::harness::gateway::Setup;
use crate::harness::{Gateway, eventually};

/// Where Debian's cross packages put the C library of 32-bit ARM.
const ARM_LIBRARIES: &str = "/usr/arm-linux-gnueabihf";

/// A target, and what runs its programs here.
struct Target {
    name: &'static str,
    runner: &'static [&'static str],
}

const X86_64: Target = Target {
    name: "x86_64-unknown-linux-musl",
    runner: &[],
};
const AARCH64: Target = Target {
    name: "aarch64-unknown-linux-musl",
    runner: &["qemu-aarch64"],
};
const ARMV7: Target = Target {
    name: "armv7-unknown-linux-gnueabihf",
    runner: &["qemu-arm", "-L", ARM_LIBRARIES],
};

const PROGRAMS: [&str; 2] = ["whatisup", "whatisup-sandbox"];

/// A program that can be started like any other: with what runs it in front, in a folder that must live as long.
struct Runnable {
    path: PathBuf,
    _folder: TempDir,
}

impl Target {
    fn program(&self, name: &str) -> PathBuf {
        packages().join(self.name).join(name)
    }

    fn runnable(&self, name: &str) -> Runnable {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let words: Vec<_> = self.runner.iter().map(|word| format!("'{word}'")).collect();
        let program = self.program(name);
        let script = format!("#!/bin/sh\nexec {} '{}' \"$@\"\n", words.join(" "), program.display());
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Runnable { path, _folder: folder }
    }

    /// What `readelf` says of a program.
    fn elf(&self, name: &str) -> String {
        let output = Command::new("readelf")
            .args([
                "--wide",
                "--file-header",
                "--program-headers",
                "--dynamic",
                "--version-info",
            ])
            .arg(self.program(name))
            .output()
            .expect("readelf comes with the C compiler");
        assert!(output.status.success(), "{} {name}", self.name);
        String::from_utf8(output.stdout).unwrap()
    }

    async fn says_its_version_and_answers(&self) {
        for name in PROGRAMS {
            let runnable = self.runnable(name);
            let output = Command::new(&runnable.path).arg("--version").output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned() + &*String::from_utf8_lossy(&output.stderr);
            assert_eq!(said, format!("{name} {}\n", env!("CARGO_PKG_VERSION")), "{}", self.name);
        }
        let normal = self.runnable("whatisup");
        let mut gateway = Setup::of(normal.path.clone()).start().await;
        gateway.client.without_key().get("/healthz").reply(200).await;
        gateway.stop().await;
    }

    /// The whole way: a simulated phone scans, a message goes out, its answer comes in, and a restart finds the link.
    async fn links_a_phone_sends_and_receives(&self) {
        let sandbox = self.runnable("whatisup-sandbox");
        let mut gateway = Setup::of(sandbox.path.clone())
            .arg("--simulator-listen")
            .arg("127.0.0.1:0")
            .start()
            .await;
        let client = gateway.client.clone();
        let mut events = gateway.events().await;
        let instances = client.get("/v1/instances").returns(200).await;
        let id = instances["data"][0]["id"].as_str().unwrap().to_owned();
        client.get(&format!("/v1/instances/{id}/qr")).returns(200).await;
        client
            .post("/v1/sandbox/scan", &json!({"instance_id": id}))
            .reply(202)
            .await;
        events.next("instance.connected").await;

        let about = client.get("/v1/sandbox").returns(200).await;
        let phones = about["phones"].as_array().unwrap();
        let contact = phones.iter().find(|phone| phone["role"] == "contact").unwrap()["phone"].clone();
        let body = json!({"to": contact, "body": {"type": "text", "text": "hello"}});
        client
            .post(&format!("/v1/instances/{id}/messages"), &body)
            .returns(202)
            .await;
        events.next("message.sent").await;
        let answer = events.next("message.received").await;
        assert_eq!(answer["from"], contact);
        connected_after_a_restart(&mut gateway, &id).await;
    }
}

async fn connected_after_a_restart(gateway: &mut Gateway, id: &str) {
    gateway.stop().await;
    gateway.start_again().await;
    let client = gateway.client.clone();
    eventually("the link after a restart", async || {
        let now = client.get(&format!("/v1/instances/{id}")).returns(200).await;
        (now["status"] == "connected").then_some(())
    })
    .await;
}

#[tokio::test]
async fn x86_64_programs_run() {
    X86_64.says_its_version_and_answers().await;
    X86_64.links_a_phone_sends_and_receives().await;
}

#[tokio::test]
async fn aarch64_programs_run() {
    AARCH64.says_its_version_and_answers().await;
    AARCH64.links_a_phone_sends_and_receives().await;
}

#[tokio::test]
async fn armv7_programs_run() {
    ARMV7.says_its_version_and_answers().await;
    ARMV7.links_a_phone_sends_and_receives().await;
}

/// The words after `label` in lines that have it: the libraries in `(NEEDED) … [libc.so.6]`.
fn bracketed<'a>(elf: &'a str, label: &str) -> Vec<&'a str> {
    elf.lines()
        .filter(|line| line.contains(label))
        .filter_map(|line| Some(line.split_once('[')?.1.split_once(']')?.0))
        .collect()
}

#[test]
fn the_musl_programs_need_nothing_of_the_system_but_its_kernel() {
    for target in [X86_64, AARCH64] {
        for name in PROGRAMS {
            let elf = target.elf(name);
            assert!(!elf.contains("INTERP"), "{} {name} wants a loader: {elf}", target.name);
            assert!(bracketed(&elf, "(NEEDED)").is_empty(), "{} {name}: {elf}", target.name);
        }
    }
}

#[test]
fn the_program_for_32_bit_arm_needs_a_glibc_from_2018_and_nothing_else() {
    const GLIBC: [&str; 6] = [
        "ld-linux-armhf.so.3",
        "libc.so.6",
        "libdl.so.2",
        "libm.so.6",
        "libpthread.so.0",
        "librt.so.1",
    ];
    for name in PROGRAMS {
        let elf = ARMV7.elf(name);
        for library in bracketed(&elf, "(NEEDED)") {
            assert!(GLIBC.contains(&library), "{name} needs {library}");
        }
        let newest: BTreeSet<(u32, u32)> = elf
            .match_indices("Name: GLIBC_2.")
            .map(|(at, label)| {
                let rest = &elf[at + label.len()..];
                let version: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
                (2, version.split('.').next().unwrap().parse().unwrap())
            })
            .collect();
        let newest = *newest.last().expect("symbols of glibc have versions");
        assert!(newest <= (2, 28), "{name} needs glibc {newest:?}");
    }
}

#[test]
fn memory_is_writable_or_code_and_never_both() {
    for target in [X86_64, AARCH64, ARMV7] {
        for name in PROGRAMS {
            let elf = target.elf(name);
            let header = |label: &str| elf.lines().find(|line| line.trim_start().starts_with(label));
            let stack = header("GNU_STACK").expect("a word about the stack");
            assert!(!stack.contains("RWE"), "{} {name}: {stack}", target.name);
            assert!(header("GNU_RELRO").is_some(), "{} {name}: no RELRO", target.name);
            // Rust does not make static programs for this processor that can lie anywhere.
            let anywhere = header("Type:").is_some_and(|line| line.contains("DYN"));
            assert_eq!(anywhere, target.name != AARCH64.name, "{} {name}", target.name);
        }
    }
}

#[test]
fn a_program_does_not_tell_where_it_was_built() {
    let home = std::env::var("HOME").unwrap();
    let places = [
        env!("CARGO_MANIFEST_DIR").to_owned(),
        packages().parent().unwrap().display().to_string(),
        format!("{home}/.cargo"),
        format!("{home}/.rustup"),
        "registry/src/".to_owned(),
    ];
    for target in [X86_64, AARCH64, ARMV7] {
        for name in PROGRAMS {
            let bytes = fs::read(target.program(name)).unwrap();
            for place in &places {
                assert!(!holds(&bytes, place), "{} {name} names {place}", target.name);
            }
            assert!(
                holds(&bytes, "/crates/"),
                "{} {name} names crates by a name of their own",
                target.name
            );
        }
    }
}

fn holds(bytes: &[u8], text: &str) -> bool {
    let finder = text.as_bytes();
    bytes.windows(finder.len()).any(|window| window == finder)
}

#[test]
fn the_normal_program_has_no_simulator_and_checks_certificates() {
    for target in [X86_64, AARCH64, ARMV7] {
        let normal = fs::read(target.program("whatisup")).unwrap();
        let sandbox = fs::read(target.program("whatisup-sandbox")).unwrap();
        let mark = "--simulator-listen";
        assert!(
            !holds(&normal, mark) && holds(&sandbox, mark.trim_start_matches('-')),
            "{}",
            target.name
        );
    }
}

#[test]
fn what_runs_the_programs_of_other_processors_is_installed() {
    for target in [AARCH64, ARMV7] {
        let found = Command::new(target.runner[0]).arg("--version").output();
        assert!(
            found.is_ok(),
            "{} is missing: tests/run --release installs qemu-user",
            target.runner[0]
        );
    }
    assert!(
        Path::new(ARM_LIBRARIES).exists(),
        "libc6-armhf-cross is missing: tests/run --release installs it"
    );
}
