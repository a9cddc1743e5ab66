//! A proxy as a process, and the way to it by TLS.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::harness::process::{Log, Process};
use crate::harness::wait::PATIENCE;
use crate::harness::{Client, Gateway, eventually};

/// The name that the files have for their reader's own.
pub const NAME: &str = "whatsapp.example.com";

const PLAIN_PORT: u16 = 8080;
const TLS_PORT: u16 = 8443;

/// Which proxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// With `packaging/proxy/nginx.conf`.
    Nginx,
    /// With `packaging/proxy/Caddyfile`.
    Caddy,
}

/// A running proxy in front of one gateway.
pub struct Front {
    kind: Kind,
    process: Process,
    folder: TempDir,
    address: Ipv4Addr,
    log: Log,
    tunnels: Vec<JoinHandle<()>>,
}

/// A file of `packaging/proxy`.
fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/proxy").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The text with one part replaced, which must be there.
fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "the shipped file has {from:?}");
    text.replace(from, to)
}

/// Where a program is: where the system has it, or where `tests/run` unpacked it.
fn program(name: &str) -> PathBuf {
    let search = std::env::var_os("PATH").unwrap_or_default();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .unwrap()
        .join("proxies/usr");
    std::env::split_paths(&search)
        .chain(["/usr/sbin".into(), target.join("sbin"), target.join("bin")])
        .map(|folder| folder.join(name))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("this test needs {name}: tests/run unpacks it where apt-get has it, or install it"))
}

/// A loopback address that hardly any other test uses at this moment, so that its ports are free: a proxy cannot
/// choose a port and tell which, and one that was free a moment ago may be somebody else's.
fn own_address() -> Ipv4Addr {
    let mut chance = rand::rng();
    Ipv4Addr::new(
        127,
        chance.random_range(1..255),
        chance.random_range(0..=255),
        chance.random_range(1..255),
    )
}

/// A certificate that signs itself, for the name of the shipped files.
fn certify(folder: &Path) {
    let output = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=test", "-addext", &format!("subjectAltName=DNS:{NAME}")])
        .args([
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-keyout",
            "privkey.pem",
            "-out",
            "fullchain.pem",
        ])
        .current_dir(folder)
        .output()
        .expect("openssl can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

impl Front {
    /// nginx with the shipped file, of which some parts are changed.
    pub async fn nginx(gateway: &Gateway, changes: &[(&str, &str)]) -> Self {
        Self::start(Kind::Nginx, gateway, changes).await
    }

    /// Starts a proxy with its shipped file and waits until it answers.
    pub async fn start(kind: Kind, gateway: &Gateway, changes: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        certify(folder.path());
        let address = own_address();
        let upstream = gateway.client.base().strip_prefix("http://").unwrap();
        let log = Log::default();
        let mut command = match kind {
            Kind::Nginx => nginx(folder.path(), address, upstream, changes),
            Kind::Caddy => caddy(folder.path(), address, upstream, changes),
        };
        let process = Process::start("the proxy", &mut command, log.clone());
        let mut front = Self {
            kind,
            process,
            folder,
            address,
            log,
            tunnels: Vec::new(),
        };
        eventually("the proxy to listen", async || {
            let ended = front.process.exit();
            assert!(
                ended.is_none(),
                "{kind:?} ended with {ended:?}: {:#?}",
                front.log.lines()
            );
            TcpStream::connect((address, TLS_PORT)).await.ok()
        })
        .await;
        front
    }

    /// The gateway's client with the test's key, going through the proxy by TLS.
    pub async fn client(&mut self, gateway: &Gateway) -> Client {
        let base = self.tunnel(Ipv4Addr::LOCALHOST).await;
        gateway.client.at(base)
    }

    /// A client without key or contract that comes from this address of the machine.
    pub async fn visitor(&mut self, from: Ipv4Addr) -> Client {
        Client::new(self.tunnel(from).await)
    }

    /// Where it answers without TLS.
    pub fn plain(&self) -> String {
        format!("http://{}:{PLAIN_PORT}", self.address)
    }

    /// What it and its workers have written into this file.
    pub fn written(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    /// What it has printed.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Reads its file anew, as after a renewed certificate.
    pub fn reload(&self) {
        assert_eq!(self.kind, Kind::Nginx);
        let mut command = Command::new(program("nginx"));
        let output = arguments(&mut command, self.folder.path())
            .args(["-s", "reload"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// An address for plain HTTP whose connections reach the proxy by TLS: the test's client speaks none.
    async fn tunnel(&mut self, from: Ipv4Addr) -> String {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_file(self.folder.path().join("fullchain.pem")).unwrap();
        roots.add(certificate).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let proxy = SocketAddr::from((self.address, TLS_PORT));
        self.tunnels.push(tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let connector = connector.clone();
                connections.spawn(async move {
                    let socket = TcpSocket::new_v4().unwrap();
                    socket.bind((from, 0).into()).unwrap();
                    // A proxy that went away shows as a connection that ends.
                    let Ok(far) = socket.connect(proxy).await else { return };
                    let name = ServerName::try_from(NAME).unwrap();
                    let mut far = connector.connect(name, far).await.expect("the proxy speaks TLS");
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        }));
        base
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        for tunnel in &self.tunnels {
            tunnel.abort();
        }
        // Killed, nginx would leave its workers behind; asked to end, Caddy would wait for open streams.
        if self.kind == Kind::Nginx && self.process.exit().is_none() {
            self.process.terminate();
            let begun = std::time::Instant::now();
            while self.process.exit().is_none() && begun.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// The options with which nginx leaves the machine's own alone.
fn arguments<'a>(command: &'a mut Command, folder: &Path) -> &'a mut Command {
    let path = folder.join("nginx.conf");
    command.arg("-p").arg(folder).arg("-c").arg(path).args(["-e", "stderr"])
}

fn nginx(folder: &Path, address: Ipv4Addr, upstream: &str, changes: &[(&str, &str)]) -> Command {
    let here = folder.display();
    let mut text = shipped("nginx.conf");
    for (from, to) in [
        ("listen 80;", format!("listen {address}:{PLAIN_PORT};")),
        (
            "listen 443 ssl http2;",
            format!("listen {address}:{TLS_PORT} ssl http2;"),
        ),
        ("listen [::]:80;", String::new()),
        ("listen [::]:443 ssl http2;", String::new()),
        ("/etc/letsencrypt/live/whatsapp.example.com/", format!("{here}/")),
        ("/var/log/nginx/", format!("{here}/")),
        ("server 127.0.0.1:8080;", format!("server {upstream};")),
    ] {
        text = replaced(&text, from, &to);
    }
    for (from, to) in changes {
        text = replaced(&text, from, to);
    }
    fs::write(folder.join("whatisup.conf"), text).unwrap();
    // What Debian has in /etc/nginx/nginx.conf, in a folder of its own. Workers with open streams, which otherwise
    // stay after a reload until the last stream ends, get a second.
    let user = if rustix::process::geteuid().is_root() {
        "user root root;"
    } else {
        ""
    };
    let places = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {here}/{name};"))
        .join("\n");
    let main = format!(
        "{user}\npid {here}/nginx.pid;\ndaemon off;\nworker_processes 1;\nworker_shutdown_timeout 1s;\n\
         error_log stderr info;\nerror_log {here}/error.log error;\nevents {{ worker_connections 128; }}\n\
         http {{\n{places}\ninclude {here}/whatisup.conf;\n}}\n"
    );
    fs::write(folder.join("nginx.conf"), main).unwrap();
    let mut command = Command::new(program("nginx"));
    arguments(&mut command, folder);
    command
}

fn caddy(folder: &Path, address: Ipv4Addr, upstream: &str, changes: &[(&str, &str)]) -> Command {
    let here = folder.display();
    let mut text = shipped("Caddyfile");
    let site = format!(
        "{{\n\tadmin off\n\tauto_https off\n}}\n\nhttps://:{TLS_PORT} {{\n\tbind {address}\n\
         \ttls {here}/fullchain.pem {here}/privkey.pem"
    );
    text = replaced(&text, &format!("{NAME} {{"), &site);
    text = replaced(
        &text,
        "\treverse_proxy 127.0.0.1:8080 {",
        &format!("\treverse_proxy {upstream} {{"),
    );
    for (from, to) in changes {
        text = replaced(&text, from, to);
    }
    let path = folder.join("Caddyfile");
    fs::write(&path, text).unwrap();
    let mut command = Command::new(program("caddy"));
    command
        .args(["run", "--adapter", "caddyfile", "--config"])
        .arg(path)
        .env("HOME", folder)
        .env("XDG_DATA_HOME", folder)
        .env("XDG_CONFIG_HOME", folder);
    command
}
