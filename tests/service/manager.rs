//! What the service manager is told, on a real socket.

use std::os::unix::net::UnixDatagram;

use crate::harness::gateway::Setup;
use crate::harness::wait::eventually;
use crate::harness::{OWNER, Simulator};

/// The manager's end of the socket.
struct Manager {
    socket: UnixDatagram,
    folder: tempfile::TempDir,
    told: Vec<String>,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self {
            socket,
            folder,
            told: Vec::new(),
        }
    }

    /// The same setup, watched by this manager.
    fn watches(&self, setup: Setup) -> Setup {
        let path = self.folder.path().join("notify");
        setup.env("NOTIFY_SOCKET", path.to_str().unwrap())
    }

    /// Every line so far.
    fn told(&mut self) -> &[String] {
        let mut message = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut message) {
            let text = std::str::from_utf8(&message[..length]).unwrap();
            self.told.extend(text.lines().map(str::to_owned));
        }
        &self.told
    }

    /// Waits for the `times`-th line that begins like this; answers its place.
    async fn hears(&mut self, line: &str, times: usize) -> usize {
        eventually(&format!("{line} from the gateway"), async || {
            let places = self.told().iter().enumerate();
            let mut fitting = places.filter(|(_, told)| told.starts_with(line));
            fitting.nth(times - 1).map(|(place, _)| place)
        })
        .await
    }
}

#[tokio::test]
async fn a_service_manager_hears_of_the_start_the_instances_the_life_and_the_end() {
    let mut manager = Manager::new();
    let simulator = Simulator::start().await;
    let setup = manager.watches(Setup::connecting_to(&simulator.url()).env("WATCHDOG_USEC", "4000000"));
    let mut gateway = setup.start().await;
    // A machine that is busy with other tests may miss a beat.
    gateway.provokes("the gateway hangs");

    let ready = manager.hears("READY=1", 1).await;
    let patience = manager.hears("EXTEND_TIMEOUT_USEC=", 1).await;
    assert!(patience < ready, "opening the store comes first: {:?}", manager.told());
    let listening = gateway.log().lines().iter().any(|line| line.contains("listening on"));
    assert!(listening, "ready is who listens");
    manager.hears("STATUS=0 of 0 instances connected", 1).await;
    manager.hears("WATCHDOG=1", 2).await;
    gateway.link(&simulator, OWNER).await;
    manager.hears("STATUS=1 of 1 instances connected", 1).await;

    gateway.stop().await;
    let stopping = manager.hears("STOPPING=1", 1).await;
    let told = manager.told();
    assert!(
        !told[stopping..]
            .iter()
            .any(|line| line == "WATCHDOG=1" || line == "READY=1"),
        "nothing after the end: {told:?}"
    );
    assert_eq!(told.iter().filter(|line| *line == "READY=1").count(), 1);
}

#[tokio::test]
async fn somebody_elses_watchdog_is_not_fed_and_nobody_need_listen() {
    let mut manager = Manager::new();
    let setup = manager.watches(Setup::connecting_to("ws://127.0.0.1:9/ws/chat"));
    let mut gateway = setup
        .env("WATCHDOG_USEC", "1000")
        .env("WATCHDOG_PID", "1")
        .start()
        .await;
    manager.hears("READY=1", 1).await;
    gateway.stop().await;
    manager.hears("STOPPING=1", 1).await;
    assert!(!manager.told().iter().any(|line| line == "WATCHDOG=1"));

    let folder = tempfile::tempdir().unwrap();
    let nobody = folder.path().join("nobody");
    let mut gateway = Setup::connecting_to("ws://127.0.0.1:9/ws/chat")
        .env("NOTIFY_SOCKET", nobody.to_str().unwrap())
        .env("WATCHDOG_USEC", "10000000")
        .start()
        .await;
    gateway.client.get("/v1/instances").returns(200).await;
    gateway.stop().await;
    let complaints = gateway.log().lines();
    let complaints = complaints.iter().filter(|line| line.contains("NOTIFY_SOCKET"));
    assert_eq!(complaints.count(), 1, "said once");
}
