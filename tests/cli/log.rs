//! What the log looks like, and what it may not contain.

use std::fs::File;
use std::io::Read as _;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use crate::harness::gateway::{SANDBOX, Setup};
use crate::harness::{FRIEND, OWNER, Simulator, Stream};

#[tokio::test]
async fn a_whole_session_leaves_no_secret_in_the_log() {
    for level in ["info", "trace"] {
        let simulator = Simulator::start().await;
        let gateway = Setup::connecting_to(&simulator.url())
            .env("WHATISUP_LOG", level)
            .env("WHATISUP_LOG_LEVEL", level)
            .env("RUST_LOG", level)
            .start()
            .await;
        let mut events = Stream::open(
            &gateway.client.without_key(),
            &format!("?token={}", gateway.client.key()),
        )
        .await;
        let instance = gateway.create("discreet").await;
        let code = instance.qr().await;
        simulator.scan(OWNER, &code).await;
        events.next("instance.connected").await;
        let (out, inward) = ("the price is 4711 guilders", "the answer is a quiet yes");
        instance.send(FRIEND, out).await;
        events.next("message.sent").await;
        simulator.send(FRIEND, OWNER, inward).await;
        events.next("message.received").await;
        instance.settles().await;
        let invented = "zpk_live_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB";
        gateway.client.with_key(invented).get("/v1/instances").reply(401).await;

        let log = gateway.log().lines().join("\n");
        assert!(log.len() > 100, "there is a log");
        // The parts of a code are each a secret of their own.
        let parts: Vec<&str> = code.split(',').filter(|part| part.len() > 8).collect();
        let secrets = [
            gateway.client.key(),
            invented,
            out,
            inward,
            OWNER,
            FRIEND,
            code.as_str(),
        ];
        for secret in secrets.into_iter().chain(parts) {
            let hits: Vec<&str> = log.lines().filter(|line| line.contains(secret)).take(3).collect();
            assert!(
                hits.is_empty(),
                "at the level {level} the log shows {secret:?}: {hits:#?}"
            );
        }
    }
}

/// The first line of a server that cannot start because its port is taken; `stream` is what the service manager claims,
/// given the stream that standard error is.
fn first_line(format: &str, stream: impl Fn(u64, u64) -> String) -> String {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut log, writer) = std::io::pipe().unwrap();
    let known = File::from(OwnedFd::from(writer.try_clone().unwrap()))
        .metadata()
        .unwrap();
    let status = Command::new(SANDBOX)
        .args(["serve", "--listen", &taken.local_addr().unwrap().to_string()])
        .args(["--log-format", format, "--state"])
        .arg(folder.path())
        .env("WHATISUP_NO_SUCH_SETTING", "1")
        .env("JOURNAL_STREAM", stream(known.dev(), known.ino()))
        .stderr(writer)
        .status()
        .unwrap();
    assert!(!status.success());
    let mut text = String::new();
    log.read_to_string(&mut text).unwrap();
    assert!(text.contains("WHATISUP_NO_SUCH_SETTING"), "{text}");
    text.lines().next().unwrap().to_owned()
}

#[test]
fn lines_for_journald_are_written_where_it_reads_or_when_asked_for() {
    let (this, other) = (
        |device, inode| format!("{device}:{inode}"),
        |device, inode| format!("{device}:{}", inode + 1),
    );
    assert!(first_line("text", this).starts_with("<4>whatisup"));
    // Inherited from whoever started this, and about another stream.
    let plain = first_line("text", other);
    assert!(plain.contains(" WARN ") && !plain.starts_with('<'), "{plain}");
    assert!(first_line("journal", other).starts_with("<4>whatisup"));
    let json = first_line("json", this);
    assert!(json.contains(r#""level":"WARN""#), "{json}");
}
