//! `doctor --bundle`: what somebody who helps needs to know, in one file that can be looked through.
//!
//! What goes in is chosen field by field, and every text among it goes through the mask as well. Never: keys, the
//! pepper, session keys, texts of messages, numbers, names, ids, and of a webhook's address anything but its host.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::super::PROGRAM;
use super::super::context::Context;
use super::super::failure::Failure;
use super::Examination;
use super::links::host;
use super::mask::{self, Mask};
use super::server::{Server, text};
use crate::config::{Config, settings};
use crate::sys::{clock, mounts};

/// Lines of the service's log.
const LOG_LINES: &str = "500";

/// How long reading them may take.
const LOG_WITHIN: Duration = Duration::from_secs(3);

/// A file inside of the bundle.
type Member = (&'static str, String);

/// Makes the file and answers the names of what is inside.
pub(super) fn make(file: &Path, examination: &Examination) -> Result<Vec<&'static str>, Failure> {
    let members = members(examination);
    write(file, &members).map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::AlreadyExists => "; name another file",
            _ => "",
        };
        Failure::Failed(format!("{} cannot be written: {error}{hint}", file.display()))
    })?;
    Ok(members.into_iter().map(|(name, _)| name).collect())
}

fn members(examination: &Examination) -> Vec<Member> {
    let server = examination.presence.server();
    let mask = Mask::of(server.map(known).unwrap_or_default());
    let mut members = vec![("doctor.json", pretty(&mask.json(&examination.report.json())))];
    members.push((
        "version.json",
        pretty(&json!({"build": super::build(), "made_at": clock::now()})),
    ));
    if let Some(context) = &examination.context {
        members.push(("settings.json", pretty(&shown_settings(context, &mask))));
        members.push(("machine.txt", machine(context, examination.holder, &mask)));
    }
    if let Some(server) = server {
        members.push(("system.json", pretty(&mask.json(&server.system))));
        let instances = server.instances.as_deref().unwrap_or_default();
        members.push(("instances.json", pretty(&shown_instances(instances, &mask))));
        let endpoints = server.endpoints.as_deref().unwrap_or_default();
        members.push(("webhooks.json", pretty(&shown_endpoints(endpoints, &mask))));
        if let Some(metrics) = &server.metrics {
            members.push(("metrics.txt", mask.figures(metrics)));
        }
    }
    if let Some(log) = journal() {
        members.push(("log.txt", own_lines(&log, &mask)));
    }
    let names: Vec<&str> = members.iter().map(|(name, _)| *name).collect();
    let readme = format!(
        "Made by `{PROGRAM} doctor --bundle` at {}.\nInside: {}.\n\nNumbers, names, ids, keys, texts and the paths of \
         webhooks are left out or masked.\nLook before you send it.\n",
        clock::now(),
        names.join(", ")
    );
    members.insert(0, ("README.txt", readme));
    members
}

/// Complete or not at all, for its owner alone, and never over a file that is there.
fn write(file: &Path, members: &[Member]) -> io::Result<()> {
    let out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    let written = pack(&out, members).and_then(|()| out.sync_all());
    if written.is_err() {
        // Half a bundle helps nobody, and would be in the way of the next try.
        let _ = std::fs::remove_file(file);
    }
    written
}

fn pack(out: impl io::Write, members: &[Member]) -> io::Result<()> {
    let mut archive = tar::Builder::new(GzEncoder::new(out, Compression::default()));
    for (name, text) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(u64::try_from(clock::now().seconds()).unwrap_or(0));
        archive.append_data(&mut header, format!("whatisup-doctor/{name}"), text.as_bytes())?;
    }
    archive.into_inner()?.finish()?;
    Ok(())
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// Texts of the server that must not be found in any sentence.
fn known(server: &Server) -> Vec<String> {
    let of = |list: &Option<Vec<Value>>, fields: &[&str]| -> Vec<String> {
        let list = list.as_deref().unwrap_or_default();
        let texts = list
            .iter()
            .flat_map(|one| fields.iter().map(|field| text(one, field).to_owned()));
        texts.filter(|text| !text.is_empty()).collect()
    };
    let mut known = of(&server.instances, &["/id", "/name", "/phone_number"]);
    known.extend(of(&server.endpoints, &["/id", "/description"]));
    known
}

/// The settings as they count, secrets left out, and which of them were given by whom.
fn shown_settings(context: &Context, mask: &Mask) -> Value {
    let mut values = serde_json::to_value(context.config()).unwrap_or_default();
    for setting in settings().iter().filter(|setting| setting.secret) {
        let pointer = format!("/{}", setting.path.replace('.', "/"));
        if let Some(value) = values.pointer_mut(&pointer).filter(|value| !value.is_null()) {
            *value = json!("set");
        }
    }
    // What the phone shows may be the name of a person or a shop.
    if context.config().whatsapp.device_name != Config::default().whatsapp.device_name {
        values["whatsapp"]["device_name"] = json!("[name]");
    }
    let given = context
        .loaded
        .sources
        .iter()
        .map(|(path, source)| (path.clone(), json!(mask.text(&source.to_string()))));
    json!({
        "values": mask.json(&values),
        "given": given.collect::<serde_json::Map<_, _>>(),
        "state": mask::path(mask, &context.state),
    })
}

/// Instances by their place in the list: newest first.
fn shown_instances(instances: &[Value], mask: &Mask) -> Value {
    let shown = instances.iter().enumerate().map(|(at, instance)| {
        json!({
            "instance": at + 1,
            "status": text(instance, "/status"),
            "since": text(instance, "/status_since"),
            "reason": text(instance, "/status_reason/code"),
            "message": mask.text(text(instance, "/status_reason/message")),
            "created_at": text(instance, "/created_at"),
        })
    });
    shown.collect()
}

/// Endpoints by their place in the list: newest first.
fn shown_endpoints(endpoints: &[Value], mask: &Mask) -> Value {
    let shown = endpoints.iter().enumerate().map(|(at, endpoint)| {
        let mut health = endpoint["health"].clone();
        health["last_error"] = json!(mask.text(text(endpoint, "/health/last_error")));
        json!({
            "endpoint": at + 1,
            "host": mask.text(&host(text(endpoint, "/url"))),
            "enabled": endpoint["enabled"],
            "disabled_reason": endpoint["disabled_reason"],
            "events": endpoint["events"],
            "health": mask.json(&health),
            "created_at": text(endpoint, "/created_at"),
        })
    });
    shown.collect()
}

/// The system below us, without the machine's name.
fn machine(context: &Context, holder: Option<u32>, mask: &Mask) -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let mut out = String::new();
    let kernel = ["ostype", "osrelease"].map(|name| read(&format!("/proc/sys/kernel/{name}")));
    let _ = writeln!(
        out,
        "kernel: {} {} {}",
        kernel[0].trim_end(),
        kernel[1].trim_end(),
        std::env::consts::ARCH
    );
    let release = read("/etc/os-release");
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let _ = writeln!(out, "system: {}", name.unwrap_or("?").trim_matches('"'));
    let _ = writeln!(
        out,
        "cores: {}",
        std::thread::available_parallelism().map_or(0, usize::from)
    );
    for line in read("/proc/meminfo").lines().take(3) {
        let _ = writeln!(out, "{line}");
    }
    if let Some(mount) = super::machine::nearest(&context.state).and_then(|there| mounts::behind(&there)) {
        let point = mask::path(mask, &mount.point);
        let _ = writeln!(
            out,
            "state folder on: {} at {point} ({})",
            mount.kind,
            mask.text(&mount.options)
        );
    }
    let _ = writeln!(
        out,
        "\nlimits of a program started here:\n{}",
        read("/proc/self/limits")
    );
    if let Some(pid) = holder {
        let _ = writeln!(out, "limits of the server:\n{}", read(&format!("/proc/{pid}/limits")));
    }
    out
}

/// The last lines of the service's log, where systemd keeps it and lets us read it.
fn journal() -> Option<String> {
    if !Path::new("/run/systemd/system").exists() {
        return None;
    }
    let (done, read) = std::sync::mpsc::channel();
    // On a thread of its own: a journal on a sick disk must not hold up the rest.
    std::thread::spawn(move || {
        let read = Command::new("journalctl")
            .args(["-u", PROGRAM, "-n", LOG_LINES, "-o", "cat", "--no-pager", "-q"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output();
        // Nobody waits any more if this fails.
        let _ = done.send(read);
    });
    let output = read.recv_timeout(LOG_WITHIN).ok()?.ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (!text.trim().is_empty()).then_some(text)
}

/// The lines that our own rooms wrote, masked. Other modules speak only under filter directives for developers, and may
/// then say anything.
fn own_lines(log: &str, mask: &Mask) -> String {
    let mut out = String::new();
    for line in log.lines() {
        let is_ours = match serde_json::from_str::<Value>(line) {
            Ok(line) => text(&line, "/target").starts_with("whatisup"),
            Err(_) => line.starts_with("whatisup::"),
        };
        if is_ours {
            out.push_str(&mask.text(line));
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_its_owners_alone_and_never_overwrites() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bundle.tar.gz");
        let members = [("a.txt", "one".to_owned()), ("b.txt", "two".to_owned())];
        write(&file, &members).unwrap();
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let before = std::fs::read(&file).unwrap();
        let again = write(&file, &members).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&file).unwrap(), before);
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(before.as_slice()));
        let names: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(names, ["whatisup-doctor/a.txt", "whatisup-doctor/b.txt"]);
    }

    #[test]
    fn only_our_own_lines_of_a_log_are_taken() {
        let log = "whatisup::engine: linked 5511988880001\n\
                   Client/Recv: text=\"a secret\"\n\
                   span{text=\"a secret\"}: whatisup::x: y\n\
                   Starting the service\n\
                   {\"level\":\"INFO\",\"target\":\"whatisup::http\",\"fields\":{\"message\":\"fine\"}}\n\
                   {\"level\":\"INFO\",\"target\":\"wacore\",\"fields\":{\"message\":\"a secret\"}}\n";
        let kept = own_lines(log, &Mask::default());
        assert_eq!(kept.lines().count(), 2, "{kept}");
        assert!(
            kept.contains("linked [number]") && kept.contains("fine") && !kept.contains("secret"),
            "{kept}"
        );
    }

    #[test]
    fn instances_and_endpoints_are_shown_without_who_and_where() {
        let instances = [json!({
            "id": "inst_01", "name": "Ana", "phone_number": "5511988880001", "status": "failed", "metadata": {"crm": "x1"},
            "status_reason": {"code": "logout", "message": "5511988880001 unlinked"},
        })];
        let endpoints = [json!({
            "id": "whe_01", "url": "https://u:p@hooks.example/path?token=t0ken", "description": "Bob's", "enabled": true,
            "health": {"status": "failing", "last_error": "at https://hooks.example/path?token=t0ken"},
        })];
        let mask = Mask::default();
        let shown = format!(
            "{}{}",
            shown_instances(&instances, &mask),
            shown_endpoints(&endpoints, &mask)
        );
        for secret in [
            "inst_01",
            "Ana",
            "5511988880001",
            "x1",
            "whe_01",
            "u:p",
            "path",
            "t0ken",
            "Bob",
        ] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
        assert!(shown.contains("logout") && shown.contains("hooks.example"), "{shown}");
    }
}
