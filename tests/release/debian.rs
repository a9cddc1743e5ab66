//! The packages for Debian and its relatives: what is in them, and their whole life on a system that was booted for it.

use std::path::PathBuf;
use std::process::Command;

use super::machine::{Machine, TARGET, done, made_with_version};
use super::packages;
use crate::harness::eventually;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Targets and what Debian calls their processors.
const PROCESSORS: [(&str, &str); 3] = [
    ("x86_64-unknown-linux-musl", "amd64"),
    ("aarch64-unknown-linux-musl", "arm64"),
    ("armv7-unknown-linux-gnueabihf", "armhf"),
];

fn package(name: &str, processor: &str) -> PathBuf {
    packages()
        .join("out")
        .join(format!("{name}_{VERSION}-1_{processor}.deb"))
}

fn processor() -> &'static str {
    PROCESSORS.iter().find(|(target, _)| *target == TARGET).unwrap().1
}

#[test]
fn each_processor_has_both_packages_with_its_own_programs_inside() {
    for (target, processor) in PROCESSORS {
        for name in ["whatisup", "whatisup-sandbox"] {
            let package = package(name, processor);
            let field = |field: &str| done(Command::new("dpkg-deb").arg("-f").arg(&package).arg(field));
            assert_eq!(field("Package").trim(), name);
            assert_eq!(field("Architecture").trim(), processor);
            assert_eq!(
                field("Depends").contains("libc6"),
                target.contains("gnu"),
                "{name} {processor}"
            );
            let folder = tempfile::tempdir().unwrap();
            done(Command::new("dpkg-deb").arg("-x").arg(&package).arg(folder.path()));
            let inside = std::fs::read(folder.path().join("usr/bin").join(name)).unwrap();
            let built = std::fs::read(packages().join(target).join(name)).unwrap();
            assert!(inside == built, "{} is not what was built", package.display());
        }
    }
}

#[test]
fn debians_own_checker_finds_nothing() {
    for (_, processor) in PROCESSORS {
        let mut command = Command::new("lintian");
        command.args(["--allow-root", "--fail-on", "error,warning"]);
        let said = done(command.args(["whatisup", "whatisup-sandbox"].map(|name| package(name, processor))));
        assert_eq!(said.trim(), "", "{processor}");
    }
}

#[tokio::test]
async fn the_package_lives_through_installation_reload_upgrade_removal_and_purge() {
    let machine = Machine::boot().await;
    let installed = machine.put(&package("whatisup", processor()));

    // Installed: it runs, as a user of its own, and systemd heard it say that it is ready.
    machine.says(&["dpkg", "-i", &installed]);
    machine.runs();
    assert_eq!(machine.service("Type"), "notify");
    assert_eq!(machine.service("UnitFileState"), "enabled");
    assert_eq!(machine.service("NRestarts"), "0");
    machine.says(&["systemd-analyze", "security", "--threshold=15", "whatisup.service"]);
    let process = machine.service("MainPID");
    let owner = machine.prints(&[
        "stat",
        "-c",
        "%U %a",
        "/var/lib/private/whatisup",
        "/var/lib/private/whatisup/store.redb",
    ]);
    assert_eq!(owner, "whatisup 700\nwhatisup 600");
    assert!(machine.path("/usr/share/man/man1/whatisup-keys-create.1.gz").exists());

    // Root needs no flags; others get nowhere.
    let link = machine.prints(&["whatisup", "setup-link"]);
    assert!(link.starts_with("http://127.0.0.1:8080/#setup="), "{link}");
    let key = machine.prints(&["whatisup", "keys", "create", "--name", "running"]);
    assert_eq!(machine.answers(&key), "HTTP/1.1 200 OK");
    assert_eq!(machine.answers("zpk_live_wrong"), "HTTP/1.1 401 Unauthorized");
    let other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let refused = machine.run(
        &[
            &other[..],
            &["whatisup", "keys", "list", "--state", "/var/lib/whatisup"],
        ]
        .concat(),
    );
    assert!(!refused.status.success());
    assert!(
        !machine.path("/root/.local/state/whatisup").exists(),
        "root has got a state of its own"
    );
    assert!(!machine.log().contains("#setup="), "a secret in the journal");

    // Settings: read by the service, and by root's commands.
    let settings = machine.path("/etc/whatisup/whatisup.toml");
    let packed = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, packed.replace("# level = \"info\"", "level = \"debug\"")).unwrap();
    assert!(
        machine
            .prints(&["whatisup", "config", "show"])
            .contains("\nlevel = \"debug\"")
    );
    machine.says(&["systemctl", "reload", "whatisup"]);
    machine.runs();
    assert_eq!(machine.service("MainPID"), process, "a reload is no restart");

    // Stopped: a clean end. What root makes meanwhile, the service can read.
    machine.says(&["systemctl", "stop", "whatisup"]);
    assert_eq!(machine.service("Result"), "success");
    let refused = machine.run(&["whatisup", "instances", "list"]);
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("systemctl start whatisup"),
        "{refused:?}"
    );
    let offline = machine.prints(&["whatisup", "keys", "create", "--name", "stopped"]);
    machine.says(&["systemctl", "start", "whatisup"]);
    assert_eq!(machine.answers(&offline), "HTTP/1.1 200 OK");

    a_wrong_setting_is_told_and_not_tried_again(&machine, &settings);
    a_process_that_hangs_is_replaced(&machine).await;

    // Upgraded: another process, the same state, the changed settings.
    let before = machine.service("MainPID");
    let newer = made_with_version("9.9.9", "deb");
    let upgrade = machine.put(&newer.path().join(format!("whatisup_9.9.9-1_{}.deb", processor())));
    machine.says(&["dpkg", "-i", &upgrade]);
    machine.runs();
    assert_ne!(machine.service("MainPID"), before);
    assert_eq!(machine.answers(&key), "HTTP/1.1 200 OK");
    assert!(
        std::fs::read_to_string(&settings)
            .unwrap()
            .contains("\nlevel = \"debug\"")
    );

    // Removed, purged: what it stores stays, and that is said.
    machine.says(&["dpkg", "-r", "whatisup"]);
    assert!(!machine.has_process("whatisup"));
    assert!(settings.exists());
    let said = machine.says(&["dpkg", "-P", "whatisup"]);
    assert!(
        said.contains("are kept in /var/lib/whatisup") && said.contains("rm -rf /var/lib/private/whatisup"),
        "{said}"
    );
    assert!(!settings.exists() && machine.path("/var/lib/private/whatisup/store.redb").exists());
    assert!(!machine.path("/usr/bin/whatisup").exists());

    // And is taken up again.
    machine.says(&["dpkg", "-i", &upgrade]);
    assert_eq!(machine.answers(&key), "HTTP/1.1 200 OK");
}

fn a_wrong_setting_is_told_and_not_tried_again(machine: &Machine, settings: &std::path::Path) {
    let right = std::fs::read_to_string(settings).unwrap();
    std::fs::write(settings, format!("{right}brust = 1\n")).unwrap();
    assert!(!machine.run(&["systemctl", "restart", "whatisup"]).status.success());
    assert_eq!(machine.service("ActiveState"), "failed");
    assert_eq!(machine.service("ExecMainStatus"), "2");
    assert!(machine.log().contains("brust"), "{}", machine.log());
    std::fs::write(settings, right).unwrap();
    machine.says(&["systemctl", "restart", "whatisup"]);
    machine.runs();
}

/// The watchdog, with less patience than in earnest.
async fn a_process_that_hangs_is_replaced(machine: &Machine) {
    // `/run` inside is a file system of its own, so it is written to from inside.
    let hurry = "mkdir -p /run/systemd/system/whatisup.service.d; \
                 printf '[Service]\\nWatchdogSec=2\\nTimeoutAbortSec=1\\nRestartSec=0\\n' \
                 >/run/systemd/system/whatisup.service.d/hurry.conf; systemctl daemon-reload; systemctl restart whatisup";
    machine.says(&["sh", "-c", hurry]);
    let process = machine.service("MainPID");
    // The shell's own: a small system has no program `kill`.
    machine.says(&["sh", "-c", &format!("kill -STOP {process}")]);
    eventually("the service to be replaced", async || {
        let replaced = machine.service("NRestarts") == "1" && machine.service("ActiveState") == "active";
        replaced.then_some(())
    })
    .await;
    assert_ne!(machine.service("MainPID"), process);
    machine.says(&[
        "sh",
        "-c",
        "rm -r /run/systemd/system/whatisup.service.d; systemctl daemon-reload",
    ]);
}
