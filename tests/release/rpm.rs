//! The packages for Fedora, openSUSE and their relatives, with rpm itself, on the system that the ones for Debian have.
//!
//! What rpm finds there is a Debian: it has no other package in its books, so the dependency on a shell is not looked
//! for. That a distribution of the other family takes them is not shown by this.

use std::path::PathBuf;
use std::process::Command;

use super::machine::{Machine, TARGET, done, made_with_version};
use super::packages;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Targets and what rpm calls their processors.
const PROCESSORS: [(&str, &str); 3] = [
    ("x86_64-unknown-linux-musl", "x86_64"),
    ("aarch64-unknown-linux-musl", "aarch64"),
    ("armv7-unknown-linux-gnueabihf", "armv7hl"),
];

fn package(name: &str, processor: &str) -> PathBuf {
    packages()
        .join("out")
        .join(format!("{name}-{VERSION}-1.{processor}.rpm"))
}

#[test]
fn each_processor_has_both_packages_with_what_they_need() {
    for (target, processor) in PROCESSORS {
        for name in ["whatisup", "whatisup-sandbox"] {
            let package = package(name, processor);
            let ask = |question: &str| done(Command::new("rpm").arg("-qp").arg(question).arg(&package));
            assert_eq!(
                ask("--queryformat=%{NAME} %{VERSION} %{ARCH}"),
                format!("{name} {VERSION} {processor}")
            );
            assert_eq!(
                ask("--requires").contains("GLIBC_2.28"),
                target.contains("gnu"),
                "{name} {processor}"
            );
            let files = ask("--list");
            for file in [
                format!("/usr/bin/{name}"),
                format!("/usr/share/licenses/{name}/LICENSE"),
            ] {
                assert!(files.lines().any(|line| line == file), "{file} in {files}");
            }
            assert_eq!(files.contains(".service"), name == "whatisup");
            assert_eq!(ask("--scripts").is_empty(), name != "whatisup");
            done(Command::new("rpm").args(["--checksig", "--nosignature"]).arg(&package));
        }
    }
}

#[tokio::test]
async fn the_package_lives_through_installation_upgrade_and_erasure() {
    let processor = PROCESSORS.iter().find(|(target, _)| *target == TARGET).unwrap().1;
    let machine = Machine::boot().await;
    let installed = machine.put(&package("whatisup", processor));
    let rpm = |words: &[&str]| machine.says(&[&["rpm", "--nodeps"][..], words].concat());

    rpm(&["-i", &installed]);
    // Whether it starts by itself is a matter of the distribution.
    machine.says(&["systemctl", "enable", "--now", "whatisup"]);
    machine.runs();
    let key = machine.prints(&["whatisup", "keys", "create", "--name", "first"]);
    assert_eq!(machine.answers(&key), "HTTP/1.1 200 OK");

    let settings = machine.path("/etc/whatisup/whatisup.toml");
    let packed = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, packed.replace("# level = \"info\"", "level = \"debug\"")).unwrap();
    let before = machine.service("MainPID");
    let newer = made_with_version("9.9.9", "rpm");
    let upgrade = machine.put(&newer.path().join(format!("whatisup-9.9.9-1.{processor}.rpm")));
    rpm(&["-U", &upgrade]);
    machine.runs();
    assert_ne!(machine.service("MainPID"), before);
    assert_eq!(machine.answers(&key), "HTTP/1.1 200 OK");
    assert!(
        std::fs::read_to_string(&settings)
            .unwrap()
            .contains("\nlevel = \"debug\"")
    );

    let said = rpm(&["-e", "whatisup"]);
    assert!(
        said.contains("are kept in /var/lib/whatisup") && said.contains("rm -rf /var/lib/private/whatisup"),
        "{said}"
    );
    assert!(!machine.has_process("whatisup"));
    assert!(!machine.path("/usr/bin/whatisup").exists());
    assert!(machine.path("/var/lib/private/whatisup/store.redb").exists());
}
