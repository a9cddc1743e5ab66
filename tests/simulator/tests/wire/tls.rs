//! TLS on the port: with a certificate that can be trusted, beside the plain half or instead of it.

use bytes::Bytes;
use whatsapp_simulator::{Options, Simulator};

use crate::client::{Client, Keys, admin, admin_with};
use crate::{NUMBER, https, simulator};

async fn with_tls_only() -> Simulator {
    let options = Options {
        tls: true,
        ..Options::default()
    };
    Simulator::start(options).await.unwrap()
}

async fn certificate(simulator: &Simulator) -> String {
    let reply = https::call(
        simulator.addr(),
        simulator.certificate(),
        "GET",
        "/admin/certificate",
        &[],
        Bytes::new(),
    )
    .await;
    assert_eq!(reply.header("content-type"), "application/x-pem-file");
    String::from_utf8(reply.body.to_vec()).unwrap()
}

#[tokio::test]
async fn with_tls_the_socket_and_the_admin_interface_are_behind_the_certificate_that_can_be_asked_for() {
    let simulator = with_tls_only().await;
    let addr = simulator.addr();
    let pem = certificate(&simulator).await;
    assert_eq!(pem, simulator.certificate());
    let reply = https::call(addr, &pem, "GET", "/admin/stats", &[], Bytes::new()).await;
    assert_eq!((reply.status, &reply.json()["socketsOpen"]), (200, &0.into()));
    let own = format!("https://{addr}");
    for (origin, status) in [(own.as_str(), 200), ("https://evil.example", 403)] {
        let headers = [("origin", origin)];
        let reply = https::call(addr, &pem, "GET", "/admin/stats", &headers, Bytes::new()).await;
        assert_eq!(reply.status, status, "{origin}");
    }

    let keys = Keys::fresh();
    let stream = https::tls(addr, &pem, "127.0.0.1").await.unwrap();
    let mut client = Client::xx_over(addr, Box::new(stream), &keys.noise, &keys.registration()).await;
    assert!(client.next().await.get_optional_child("pair-device").is_some());
    simulator.shutdown().await;
}

#[tokio::test]
async fn with_tls_a_plain_request_is_told_what_is_spoken() {
    let simulator = with_tls_only().await;
    for path in ["/admin/stats", "/ws/chat", "/mms/image/x"] {
        let (status, answer) = admin(simulator.addr(), "GET", path, "").await;
        let sentence = answer["error"].as_str().unwrap_or_default();
        assert!(
            status == 400 && sentence.contains("https://"),
            "{path}: {status} {answer}"
        );
    }
    simulator.shutdown().await;
}

#[tokio::test]
async fn the_certificate_is_for_this_machine_alone_and_vouches_for_no_other() {
    let (simulator, addr) = simulator().await;
    let (other, _) = crate::simulator().await;
    for name in ["localhost", "127.0.0.1", "::1"] {
        https::tls(addr, simulator.certificate(), name).await.unwrap();
    }
    let refused = https::tls(addr, simulator.certificate(), "web.whatsapp.com").await;
    assert!(refused.unwrap_err().to_string().contains("not valid for name"));
    let refused = https::tls(addr, other.certificate(), "127.0.0.1").await;
    assert!(refused.unwrap_err().to_string().contains("invalid peer certificate"));
    simulator.shutdown().await;
    other.shutdown().await;
}

#[tokio::test]
async fn a_state_folder_keeps_the_certificate_and_shows_it() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        state: Some(folder.path().to_owned()),
        ..Options::default()
    };
    let first = Simulator::start(options.clone()).await.unwrap();
    let pem = first.certificate().to_owned();
    let shown = std::fs::read_to_string(folder.path().join("certificate.pem")).unwrap();
    assert_eq!(shown, pem);
    first.shutdown().await;
    let second = Simulator::start(options).await.unwrap();
    assert_eq!(second.certificate(), pem);
    https::tls(second.addr(), &shown, "127.0.0.1").await.unwrap();
    second.shutdown().await;
}

#[tokio::test]
async fn plain_and_tls_are_spoken_side_by_side_and_silence_or_nonsense_harms_nobody() {
    use tokio::io::AsyncWriteExt as _;
    let (simulator, addr) = simulator().await;
    let silent = tokio::net::TcpStream::connect(addr).await.unwrap();
    let mut nonsense = tokio::net::TcpStream::connect(addr).await.unwrap();
    nonsense.write_all(&[0x16, 3, 1, 0xff, 0xff, 1, 2, 3]).await.unwrap();
    nonsense.shutdown().await.unwrap();
    let path = format!("/admin/mock-phone/inbox?phone={NUMBER}");
    assert_eq!(admin_with(addr, "GET", &path, "", &[]).await.0, 200);
    let reply = https::call(addr, simulator.certificate(), "GET", &path, &[], Bytes::new()).await;
    assert_eq!((reply.status, reply.json()), (200, serde_json::json!([])));
    drop(silent);
    simulator.shutdown().await;
}
