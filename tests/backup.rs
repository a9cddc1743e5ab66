//! `whatisup backup` and `restore`: everything goes on elsewhere, and whatever is not whole changes nothing.

use std::fs;
use std::io::{Read as _, Write as _};
use std::iter;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::gateway::{Instance, SANDBOX, Setup};
use crate::harness::sink::{self, Sink};
use crate::harness::traffic::{keep_sending, keep_writing};
use crate::harness::{FRIEND, OWNER, Simulator, Stream, eventually};

const PASSPHRASE: &str = "a rather long passphrase";

/// The command with the state folder, to be run.
fn command(args: &[&str], state: &Path) -> Command {
    let mut command = Command::new(SANDBOX);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("WHATISUP_")) {
        command.env_remove(name);
    }
    command.args(args).arg("--state").arg(state).stdin(Stdio::null());
    command
}

/// Runs a command to its end, beside whatever else the test does.
async fn run(args: &[&str], state: &Path) -> Output {
    ended(command(args, state)).await
}

async fn ended(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

/// What a successful command printed, with `--json`.
async fn told(args: &[&str], state: &Path) -> Value {
    let output = run(&[args, &["--json"]].concat(), state).await;
    assert!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What a command that failed said.
async fn refused(args: &[&str], state: &Path, code: i32) -> String {
    let output = run(args, state).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    said
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The names in a folder, in order.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A state folder that a command without a server made: a store, both keys, one API key.
async fn small_state() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let made = run(&["keys", "create", "--name", "one"], &state).await;
    assert!(made.status.success());
    (folder, state)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_taken_in_the_middle_of_traffic_goes_on_in_another_folder() {
    let simulator = Simulator::start().await;
    let mut old = sink::gateway(&simulator).await;
    let sink = Sink::start().await;
    let endpoint = sink.endpoint(&old.client, json!({})).await;
    let instance = old.link(&simulator, OWNER).await;
    let mut events = old.events().await;
    let halt = Arc::new(AtomicBool::new(false));
    let sending = tokio::spawn(keep_sending(old.client.clone(), instance.clone(), halt.clone()));
    let writing = tokio::spawn(keep_writing(simulator.phones.clone(), halt.clone()));
    events
        .count("traffic", 10, |frame| frame.name() == "message.received")
        .await;

    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("backup.tar.gz");
    let made = told(&["backup", text(&file)], &old.state()).await;
    let is_received = |frame: &crate::harness::stream::Frame| frame.name() == "message.received";
    let until_then = events.frames().iter().filter(|frame| is_received(frame)).count();
    events
        .count("traffic after the backup", until_then + 10, is_received)
        .await;
    halt.store(true, Ordering::Relaxed);
    let (accepted, _) = (sending.await.unwrap(), writing.await.unwrap());
    instance.settles().await;
    assert_eq!((&made["instances"], &made["encrypted"]), (&json!(1), &json!(false)));
    assert!(made["events"].as_u64().unwrap() >= 10, "{made}");
    let permissions = fs::metadata(&file).unwrap().permissions();
    assert_eq!(permissions.mode() & 0o777, 0o600);
    assert_eq!(names(elsewhere.path()), ["backup.tar.gz"], "no draft stays");
    assert!(!names(&old.state()).iter().any(|name| name.starts_with(".snapshot")));
    let rows = old.client.get("/v1/audit?action=backups.create").returns(200).await;
    assert_eq!(rows["data"].as_array().unwrap().len(), 1);
    assert_eq!(rows["data"][0]["actor"], json!({"kind": "owner"}));
    let last_id = |frames: Vec<crate::harness::stream::Frame>| -> String {
        frames
            .iter()
            .filter_map(|frame| frame.data["event_id"].as_str())
            .max()
            .unwrap()
            .to_owned()
    };
    let last = last_id(events.frames());
    let key = old.client.key().to_owned();
    old.stop().await;

    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let restored = run(&["restore", text(&file)], &state).await;
    let said = String::from_utf8_lossy(&restored.stderr).into_owned();
    assert!(restored.status.success(), "{said}");
    assert!(
        said.contains("must stay off") && said.contains("keys of conversations are those of the day"),
        "{said}"
    );
    assert_eq!(names(&state), ["pepper", "secrets.key", "store.redb"]);

    let new = Setup::connecting_to(&simulator.url())
        .env("WHATISUP_WEBHOOKS_ALLOW_PRIVATE", "127.0.0.0/8")
        .start_on(folder)
        .await;
    let client = new.client.with_key(key);
    let mut events = Stream::open(&client, "").await;
    let instance = Instance::new(&new, &instance.id);
    instance.becomes("connected").await;
    instance.send(FRIEND, "from elsewhere").await;
    simulator.gets(FRIEND, "from elsewhere").await;
    simulator.send(FRIEND, OWNER, "to elsewhere").await;
    let received = events
        .next_where("the message to elsewhere", |frame| {
            frame.name() == "message.received" && frame.data["body"]["text"] == "to elsewhere"
        })
        .await;
    assert!(
        *received["event_id"].as_str().unwrap() > *last,
        "event ids go on behind those of the old installation"
    );
    let delivered = sink
        .count("the webhook from elsewhere", 1, |got| {
            got.body["event_id"] == received["event_id"]
        })
        .await;
    assert_eq!(delivered[0].signatures(&endpoint.secret), (1, 1));
    instance.settles().await;
    // Whatever was on its way at the time of the backup: the phone shows each once.
    let shown = simulator.texts(FRIEND).await;
    for (text, _) in &accepted {
        assert_eq!(shown.iter().filter(|shown| *shown == text).count(), 1, "{text}");
    }
}

#[tokio::test]
async fn a_backup_is_for_the_owner_of_the_machine_alone() {
    let gateway = Setup::connecting_to("ws://127.0.0.1:9/ws/chat").start().await;
    gateway.client.post_empty("/v1/backups").refused(404, "not_found").await;
    let rows = gateway.client.get("/v1/audit?action=backups.create").returns(200).await;
    assert_eq!(rows["data"], json!([]));
}

#[tokio::test]
async fn an_encrypted_backup_comes_back_with_its_passphrase_alone_and_age_opens_it_too() {
    let (folder, state) = small_state().await;
    let (right, wrong) = (folder.path().join("right"), folder.path().join("wrong"));
    fs::write(&right, format!("{PASSPHRASE}\n")).unwrap();
    fs::write(&wrong, "another").unwrap();
    let file = folder.path().join("backup.age");
    let made = told(&["backup", text(&file), "--passphrase-file", text(&right)], &state).await;
    assert_eq!(made["encrypted"], true);

    let sealed = fs::read(&file).unwrap();
    let identity = age::scrypt::Identity::new(PASSPHRASE.to_owned().into());
    let mut plain = Vec::new();
    age::Decryptor::new_buffered(sealed.as_slice())
        .unwrap()
        .decrypt(iter::once(&identity as _))
        .unwrap()
        .read_to_end(&mut plain)
        .unwrap();
    let unpacked = folder.path().join("plain.tar.gz");
    fs::write(&unpacked, &plain).unwrap();
    told(&["restore", text(&unpacked)], &folder.path().join("by-age")).await;

    let target = folder.path().join("restored");
    let cut = folder.path().join("cut.age");
    fs::write(&cut, &sealed[..sealed.len() - 100]).unwrap();
    let changed = folder.path().join("changed.age");
    let mut bytes = sealed.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&changed, &bytes).unwrap();
    let costly = folder.path().join("costly.age");
    // A header is enough: it is refused before any work.
    let header = String::from_utf8_lossy(&sealed[..200]).replace(" 12\n", " 21\n");
    fs::write(&costly, header.as_bytes()).unwrap();
    for (file, passphrase, expected) in [
        (&file, &wrong, "the passphrase is wrong"),
        (&cut, &right, "damaged"),
        (&changed, &right, "damaged"),
        (&costly, &right, "2^21 steps"),
    ] {
        let said = refused(
            &["restore", text(file), "--passphrase-file", text(passphrase)],
            &target,
            1,
        )
        .await;
        assert!(said.contains(expected), "{}: {said}", file.display());
        assert!(!target.exists(), "nothing is left of {}", file.display());
    }
    let said = refused(&["restore", text(&file)], &target, 2).await;
    assert!(said.contains("--passphrase-file"), "{said}");
    let mut exposed = command(&["backup", text(&cut), "--force"], &state);
    let output = ended({
        exposed.env("WHATISUP_BACKUP_PASSPHRASE", "x");
        exposed
    })
    .await;
    assert_eq!(
        output.status.code(),
        Some(2),
        "a secret is not read from the environment"
    );

    let mut restore = command(&["restore", text(&file)], &target);
    restore.env("WHATISUP_BACKUP_PASSPHRASE_FILE", &right);
    let output = ended(restore).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let keys = told(&["keys", "list"], &target).await;
    assert!(keys.to_string().contains("\"one\""), "{keys}");
    assert_eq!(
        fs::read(target.join("pepper")).unwrap(),
        fs::read(state.join("pepper")).unwrap()
    );
}

#[tokio::test]
async fn what_is_no_whole_backup_changes_nothing() {
    let (folder, state) = small_state().await;
    let file = folder.path().join("backup.tar.gz");
    told(&["backup", text(&file)], &state).await;
    let whole = fs::read(&file).unwrap();
    let target = folder.path().join("target");
    let mut changed = whole.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    for (what, bytes, expected) in [
        ("nothing", Vec::new(), "no backup of WhatIsUp"),
        ("text", b"this is no backup".to_vec(), "no backup of WhatIsUp"),
        ("half", whole[..middle].to_vec(), "cut off"),
        // What a changed bit looks like depends on where it is: also like an early end.
        ("changed", changed, ""),
        ("longer", [whole.as_slice(), b"x"].concat(), "damaged"),
    ] {
        let bad = folder.path().join("bad");
        fs::write(&bad, bytes).unwrap();
        let said = refused(&["restore", text(&bad)], &target, 1).await;
        assert!(said.contains(expected), "{what}: {said}");
        assert!(!target.exists(), "{what}");
        // The same beside a gateway that is there.
        let before = (names(&state), fs::read(state.join("store.redb")).unwrap());
        refused(&["restore", text(&bad), "--force"], &state, 1).await;
        assert!(
            (names(&state), fs::read(state.join("store.redb")).unwrap()) == before,
            "{what}"
        );
    }
    refused(&["restore", text(&folder.path().join("missing"))], &target, 1).await;
    assert!(!target.exists());
}

#[tokio::test]
async fn a_backup_of_a_newer_version_is_refused_and_one_of_an_older_version_is_brought_up_to_date_at_the_start() {
    let (folder, state) = small_state().await;
    let file = folder.path().join("backup.tar.gz");
    crate::upgrades::sign(&state.join("store.redb"), whatisup::store::SCHEMA + 1, "9.1.0");
    let said = refused(&["backup", text(&file)], &state, 1).await;
    assert!(said.contains("written by WhatIsUp 9.1.0"), "{said}");
    assert!(!file.exists());
    let old = crate::upgrades::of_then(1);
    let made = told(&["backup", text(&file)], &old.path().join("state")).await;
    assert_eq!(
        (&made["schema"], made["files"].as_array().unwrap().len()),
        (&json!(1), 2)
    );
    let target = folder.path().join("target");
    told(&["restore", text(&file)], &target).await;
    let found = whatisup::store::inspect(&target.join("store.redb")).unwrap().unwrap();
    assert_eq!(found.schema, 1);
    told(&["keys", "list"], &target).await;
    let found = whatisup::store::inspect(&target.join("store.redb")).unwrap().unwrap();
    assert_eq!(found.schema, whatisup::store::SCHEMA);
}

#[tokio::test]
async fn a_folder_that_is_not_empty_is_restored_by_force_alone_and_what_was_there_is_kept() {
    let (folder, state) = small_state().await;
    let file = folder.path().join("backup.tar.gz");
    told(&["backup", text(&file)], &state).await;
    told(&["keys", "create", "--name", "made after the backup"], &state).await;
    fs::write(state.join("whatisup.toml"), "# mine\n").unwrap();
    let said = refused(&["restore", text(&file)], &state, 1).await;
    assert!(said.contains("is not empty") && said.contains("--force"), "{said}");
    let pepper = fs::read(state.join("pepper")).unwrap();
    let told_of = told(&["restore", text(&file), "--force"], &state).await;
    let kept = PathBuf::from(told_of["kept"].as_str().unwrap());
    assert_eq!(names(&kept), [".first-start", "pepper", "secrets.key", "store.redb"]);
    assert_eq!(fs::read(kept.join("pepper")).unwrap(), pepper);
    assert_eq!(fs::read_to_string(state.join("whatisup.toml")).unwrap(), "# mine\n");
    let keys = told(&["keys", "list"], &state).await.to_string();
    assert!(keys.contains("\"one\"") && !keys.contains("made after"), "{keys}");
    let old = told(&["keys", "list"], &kept).await.to_string();
    assert!(old.contains("made after"), "{old}");
}

#[tokio::test]
async fn a_restore_that_was_interrupted_is_done_once_more_before_anything_starts() {
    let (folder, state) = small_state().await;
    let file = folder.path().join("backup.tar.gz");
    told(&["backup", text(&file)], &state).await;
    // As a power cut between two renames leaves it.
    fs::write(state.join(".restore-unfinished"), "").unwrap();
    fs::remove_file(state.join("store.redb")).unwrap();
    fs::create_dir(state.join(".restore-draft-0000")).unwrap();
    let said = refused(&["keys", "create", "--name", "x"], &state, 1).await;
    assert!(
        said.contains("interrupted") && said.contains("restore --force"),
        "{said}"
    );
    assert!(!state.join("store.redb").exists(), "no empty gateway is made");
    told(&["restore", text(&file), "--force"], &state).await;
    let left = names(&state);
    assert!(!left.iter().any(|name| name.starts_with(".restore")), "{left:?}");
    assert!(told(&["keys", "list"], &state).await.to_string().contains("\"one\""));
}

#[tokio::test]
async fn a_running_gateway_is_not_restored_over_and_a_backup_never_replaces_a_file_unasked() {
    let gateway = Setup::connecting_to("ws://127.0.0.1:9/ws/chat").start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup.tar.gz");
    fs::write(&file, "precious").unwrap();
    let said = refused(&["backup", text(&file)], &gateway.state(), 1).await;
    assert!(said.contains("there already") && said.contains("--force"), "{said}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    let said = refused(&["backup", text(folder.path())], &gateway.state(), 1).await;
    assert!(said.contains("is a folder"), "{said}");
    let missing = folder.path().join("missing/backup");
    let said = refused(&["backup", text(&missing)], &gateway.state(), 1).await;
    assert!(said.contains("does not exist"), "{said}");
    told(&["backup", text(&file), "--force"], &gateway.state()).await;
    assert_eq!(names(folder.path()), ["backup.tar.gz"]);

    let said = refused(&["restore", text(&file), "--force"], &gateway.state(), 1).await;
    assert!(said.contains("a server is running"), "{said}");
    // Also when the socket cannot be found: the store itself is locked.
    let elsewhere = folder.path().join("no.sock");
    let args = ["restore", text(&file), "--force", "--admin-socket", text(&elsewhere)];
    let said = refused(&args, &gateway.state(), 1).await;
    assert!(said.contains("has the store open"), "{said}");
    gateway.client.get("/v1/instances").returns(200).await;
}

#[tokio::test]
async fn a_backup_for_which_the_disk_is_too_small_leaves_no_file() {
    let gateway = Setup::connecting_to("ws://127.0.0.1:9/ws/chat").start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup.tar.gz");
    // The limit is the command's own: the server's disk is large enough.
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$@\"", "sh", SANDBOX, "backup"])
        .arg(&file)
        .arg("--state")
        .arg(gateway.state());
    let output = ended(shell).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("too full for the backup"), "{said}");
    assert!(names(folder.path()).is_empty());
}

#[tokio::test]
async fn a_backup_that_is_killed_leaves_no_file() {
    let (_made, state) = small_state().await;
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("passphrase");
    fs::write(&secret, PASSPHRASE).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup.tar.gz.age");
    // The passphrase takes its time while the file is open.
    let args = ["backup", text(&file), "--passphrase-file", text(&secret)];
    let mut backup = command(&args, &state).stderr(Stdio::null()).spawn().unwrap();
    let opened = format!("/proc/{}/fd", backup.id());
    eventually("the file to be open", async || {
        let opened = fs::read_dir(&opened).unwrap();
        let mut paths = opened.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        paths.any(|path| path.starts_with(folder.path())).then_some(())
    })
    .await;
    backup.kill().unwrap();
    assert!(!backup.wait().unwrap().success());
    assert!(names(folder.path()).is_empty(), "{:?}", names(folder.path()));
}

#[tokio::test]
async fn the_keys_are_in_the_backup_wherever_settings_keep_them() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let pepper = folder.path().join("pepper");
    fs::write(&pepper, "ab".repeat(32)).unwrap();
    let with_pepper = |args: &[&str], state: &Path| {
        let mut command = command(args, state);
        command.env("WHATISUP_PEPPER_FILE", &pepper);
        command
    };
    let made = ended(with_pepper(&["keys", "create", "--name", "one"], &state)).await;
    assert!(made.status.success());
    assert!(!state.join("pepper").exists());
    let file = folder.path().join("backup.tar.gz");
    let said = refused(&["backup", text(&file)], &state, 1).await;
    assert!(said.contains("WHATISUP_PEPPER_FILE"), "{said}");
    assert!(
        ended(with_pepper(&["backup", text(&file)], &state))
            .await
            .status
            .success()
    );
    let target = folder.path().join("target");
    told(&["restore", text(&file)], &target).await;
    assert_eq!(
        fs::read_to_string(target.join("pepper")).unwrap().trim(),
        "ab".repeat(32)
    );
    // Settings that name another pepper win, which is said.
    fs::write(&pepper, "cd".repeat(32)).unwrap();
    let restored = ended(with_pepper(&["restore", text(&file), "--force"], &target)).await;
    let said = String::from_utf8_lossy(&restored.stderr).into_owned();
    assert!(said.contains("name another pepper"), "{said}");
}

#[tokio::test]
async fn what_root_restores_belongs_to_the_owner_of_the_folder() {
    if !rustix::process::geteuid().is_root() {
        println!("not root: nothing to try");
        return;
    }
    let (folder, state) = small_state().await;
    let file = folder.path().join("backup.tar.gz");
    told(&["backup", text(&file)], &state).await;
    let target = folder.path().join("service");
    fs::create_dir(&target).unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o700)).unwrap();
    chown(&target, Some(61_234), Some(61_234)).unwrap();
    told(&["restore", text(&file)], &target).await;
    told(&["restore", text(&file), "--force"], &target).await;
    let mut found = names(&target);
    found.push(String::new());
    for name in found {
        let meta = fs::metadata(target.join(&name)).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (61_234, 61_234), "{name}");
        assert_eq!(meta.permissions().mode() & 0o077, 0, "{name}");
    }
}

#[tokio::test]
async fn a_backup_flows_from_one_command_into_the_other() {
    let (folder, state) = small_state().await;
    let target = folder.path().join("target");
    let output = run(&["backup", "-"], &state).await;
    assert!(output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("whoever has this backup"), "{said}");
    let mut restore = command(&["restore", "-"], &target)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    restore.stdin.take().unwrap().write_all(&output.stdout).unwrap();
    assert!(restore.wait().unwrap().success());
    assert!(told(&["keys", "list"], &target).await.to_string().contains("\"one\""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_during_a_backup_leaves_nothing_bad() {
    let simulator = Simulator::start().await;
    let mut gateway = Setup::connecting_to(&simulator.url()).start().await;
    let instance = gateway.link(&simulator, OWNER).await;
    let mut events = gateway.events().await;
    // More than pipes, sockets and queues hold, and nothing that packs well.
    for _ in 0..100 {
        let noise = hex::encode((0..30_000).map(|_| rand::random()).collect::<Vec<u8>>());
        simulator.send(FRIEND, OWNER, &noise).await;
    }
    events
        .count("the noise", 100, |frame| frame.name() == "message.received")
        .await;
    let mut backup = command(&["backup", "-"], &gateway.state())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let folder_for_the_second = tempfile::tempdir().unwrap();
    let is_snapshot = |name: &String| name.starts_with(".snapshot-");
    let mut first = [0; 1];
    // A byte has come, the rest waits: the snapshot is there until it was read.
    backup.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    assert!(names(&gateway.state()).iter().any(is_snapshot));
    let second = folder_for_the_second.path().join("second");
    let said = refused(&["backup", text(&second)], &gateway.state(), 1).await;
    assert!(said.contains("Another backup is being made"), "{said}");
    gateway.kill();
    assert!(names(&gateway.state()).iter().any(is_snapshot));
    let output = tokio::task::spawn_blocking(move || backup.wait_with_output().unwrap())
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("broke off"), "{said}");

    gateway.start_again().await;
    assert!(
        !names(&gateway.state()).iter().any(is_snapshot),
        "the next start removes it"
    );
    instance.becomes("connected").await;
    let folder = tempfile::tempdir().unwrap();
    told(&["backup", text(&folder.path().join("b"))], &gateway.state()).await;
    // A client that goes away in the middle leaves nothing either.
    let mut backup = command(&["backup", "-"], &gateway.state())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    backup.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    backup.kill().unwrap();
    backup.wait().unwrap();
    eventually("the snapshot to go", async || {
        (!names(&gateway.state()).iter().any(is_snapshot)).then_some(())
    })
    .await;
}
