//! The bundle: what is inside, and above all what is not.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use super::run;
use crate::harness::gateway::{SANDBOX, Setup};
use crate::harness::sink::Sink;
use crate::harness::{FRIEND, Gateway, OWNER, Simulator};

/// Every file of a bundle by its name.
fn members(file: &Path) -> BTreeMap<String, Vec<u8>> {
    let packed = std::fs::File::open(file).unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(packed));
    let mut members = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        members.insert(name.strip_prefix("whatisup-doctor/").unwrap().to_owned(), content);
    }
    members
}

const NAME: &str = "Papelaria da Ana";
const INCOMING: &str = "the parcel is in the blue box";
const OUTGOING: &str = "thank you, I found it";
const DESCRIPTION: &str = "billing of Bob";
const DEVICE: &str = "Ana at the counter";
const CHOSEN: &str = "a-signing-secret-of-my-own-choice";
const PASSWORD: &str = "a quiet yellow lamp";

/// A gateway where everything happened that leaves something behind which nobody else may see; and all of that.
async fn lived_in(simulator: &Simulator, sink: &Sink, folder: &Path) -> (Gateway, Vec<String>) {
    let password = folder.join("password");
    std::fs::write(&password, PASSWORD).unwrap();
    std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o600)).unwrap();
    let gateway = Setup::connecting_to(&simulator.url())
        .env("WHATISUP_WEBHOOKS_ALLOW_PRIVATE", "127.0.0.0/8")
        .env("WHATISUP_DASHBOARD_PASSWORD_FILE", password.to_str().unwrap())
        .start()
        .await;
    let instance = gateway.link(simulator, OWNER).await;
    let change = json!({"name": NAME, "metadata": {"crm": "customer-4711-metadata"}});
    gateway.client.patch(&instance.path(""), &change).returns(200).await;
    let rest = json!({"description": DESCRIPTION, "signing_secret": CHOSEN});
    let chosen = sink.endpoint(&gateway.client, rest).await;
    let random = sink.endpoint(&gateway.client, json!({})).await;
    let narrow = gateway.new_key(&json!({"name": "the till of Carla"})).await;
    let incoming = simulator.send(FRIEND, OWNER, INCOMING).await;
    let outgoing = instance.send(FRIEND, OUTGOING).await;
    simulator.gets(FRIEND, OUTGOING).await;
    sink.event("message.received").await;
    instance.settles().await;
    // One that is not linked, so that there is something to tell in sentences too.
    let second = gateway.create("Second of Dora").await;
    let mut secrets: Vec<String> = [
        OWNER,
        FRIEND,
        NAME,
        INCOMING,
        OUTGOING,
        DESCRIPTION,
        DEVICE,
        CHOSEN,
        PASSWORD,
        "customer-4711-metadata",
        "the till of Carla",
        "Second of Dora",
        "token=",
        "/hook",
        "@s.whatsapp.net",
        "@lid",
        &incoming,
        &outgoing,
        &instance.id,
        &second.id,
        &chosen.id,
        &random.id,
        &random.secret,
        narrow["id"].as_str().unwrap(),
        narrow["secret"].as_str().unwrap(),
        gateway.client.key(),
    ]
    .map(str::to_owned)
    .to_vec();
    for name in ["pepper", "secrets.key"] {
        let key = std::fs::read_to_string(gateway.state().join(name)).unwrap();
        secrets.push(key.trim().to_owned());
    }
    (gateway, secrets)
}

#[tokio::test]
async fn a_bundle_holds_what_helps_and_nobodys_secrets() {
    let simulator = Simulator::start().await;
    let sink = Sink::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (gateway, secrets) = lived_in(&simulator, &sink, folder.path()).await;
    let file = folder.path().join("bundle.tar.gz");
    let settings = [
        "--bundle",
        file.to_str().unwrap(),
        "--set",
        &format!("whatsapp.url={}", simulator.url()),
        "--set",
        &format!("whatsapp.device_name={DEVICE}"),
        "--set",
        "webhooks.allow_private=127.0.0.0/8",
    ];
    let output = run(Path::new(SANDBOX), &settings, &gateway.state());
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("Look before you send it"), "{said}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    let members = members(&file);
    for name in INSIDE {
        assert!(members.contains_key(name) && said.contains(name), "{name}: {said}");
    }
    for (name, content) in &members {
        let content = String::from_utf8(content.clone()).expect("everything inside can be looked through");
        for secret in &secrets {
            assert!(!content.contains(secret.as_str()), "{secret} is in {name}:\n{content}");
        }
    }
    helps(&members, &sink);

    let before = std::fs::read(&file).unwrap();
    let again = run(Path::new(SANDBOX), &settings, &gateway.state());
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&again.stderr).contains("is there already"));
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

/// What is inside when a server answers; the log where systemd keeps one.
const INSIDE: [&str; 9] = [
    "README.txt",
    "doctor.json",
    "version.json",
    "settings.json",
    "machine.txt",
    "system.json",
    "instances.json",
    "webhooks.json",
    "metrics.txt",
];

/// That what is left still tells how the gateway does.
fn helps(members: &BTreeMap<String, Vec<u8>>, sink: &Sink) {
    let json = |name: &str| -> Value { serde_json::from_slice(&members[name]).unwrap() };
    assert_eq!(json("doctor.json")["checks"].as_array().unwrap().len(), 20);
    assert!(json("system.json")["store"]["file_bytes"].as_u64().unwrap() > 0);
    assert_eq!(json("settings.json")["values"]["whatsapp"]["device_name"], "[name]");
    let instances = json("instances.json");
    let statuses: Vec<&str> = instances
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["status"].as_str().unwrap())
        .collect();
    assert_eq!(statuses, ["pending", "connected"]);
    let webhooks = json("webhooks.json");
    assert_eq!(webhooks[0]["host"], sink.url().split('/').nth(2).unwrap());
    assert_eq!(webhooks[0]["health"]["status"], "ok");
    let metrics = String::from_utf8(members["metrics.txt"].clone()).unwrap();
    assert!(
        metrics.contains("whatisup_instances{status=\"connected\"} 1"),
        "{metrics}"
    );
}

#[test]
fn a_bundle_without_a_server_and_without_settings_is_one_too() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let file = folder.path().join("first.tar.gz");
    let args = ["--offline", "--json", "--bundle", file.to_str().unwrap()];
    let output = run(Path::new(SANDBOX), &args, &state);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["bundle"]["file"], file.to_str().unwrap());
    let mut names: Vec<&str> = report["bundle"]["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    names.sort_unstable();
    assert_eq!(names, members(&file).keys().collect::<Vec<_>>());
    assert!(!state.exists());

    let settings = folder.path().join("whatisup.toml");
    std::fs::write(&settings, "[limits]\nbrust = 3\n").unwrap();
    let file = folder.path().join("second.tar.gz");
    let args = [
        "--config",
        settings.to_str().unwrap(),
        "--bundle",
        file.to_str().unwrap(),
    ];
    let output = run(Path::new(SANDBOX), &args, &state);
    assert_eq!(
        output.status.code(),
        Some(1),
        "what failed is told, and the bundle made all the same"
    );
    assert!(members(&file).contains_key("doctor.json"));
}
