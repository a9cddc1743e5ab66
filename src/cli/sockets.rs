//! Where callers come in: the port for everybody with a key, the Unix socket for the owner.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, UnixListener};

use super::client::{self, Unreachable};
use super::failure::Failure;

/// Binds the port.
pub(super) async fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => "another program listens there; stop it or choose another port with --listen",
            io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege; choose a higher one with --listen",
            io::ErrorKind::AddrNotAvailable => "this machine has no such address; see --listen",
            _ => "see --listen",
        };
        Failure::Failed(format!("cannot listen on {address}: {error}; {hint}"))
    })
}

/// The owner's socket; removed from the disk when dropped.
pub(super) struct AdminSocket {
    path: PathBuf,
}

impl AdminSocket {
    /// Binds it for this user alone. One that a killed server left behind is replaced; one that answers is not.
    pub(super) async fn bind(path: &Path) -> Result<(Self, UnixListener), Failure> {
        match client::open(path).await {
            Ok(_) => {
                return Err(Failure::Failed(format!(
                    "another server answers on the socket {}",
                    path.display()
                )));
            }
            Err(Unreachable::NoServer(_)) => remove_stale(path)?,
            Err(error) => return Err(error.into()),
        }
        let failed =
            |error: io::Error| Failure::Failed(format!("cannot listen on the socket {}: {error}", path.display()));
        let listener = UnixListener::bind(path).map_err(failed)?;
        let socket = Self { path: path.to_owned() };
        // The umask has kept others out from the first moment; this takes the useless execute bit away too.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        Ok((socket, listener))
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        // Nothing is lost if it stays: the next start replaces it.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn remove_stale(path: &Path) -> Result<(), Failure> {
    match std::fs::symlink_metadata(path) {
        Err(_) => Ok(()),
        Ok(metadata) if metadata.file_type().is_socket() => std::fs::remove_file(path).map_err(|error| {
            Failure::Failed(format!(
                "the stale socket {} cannot be removed: {error}",
                path.display()
            ))
        }),
        Ok(_) => Err(Failure::Failed(format!(
            "{} is in the way of the admin socket and no socket itself; move it or choose another place with --admin-socket",
            path.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_socket_is_for_its_owner_alone_and_goes_away_with_the_server() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let (socket, _listener) = AdminSocket::bind(&path).await.unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_one_that_answers_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let (_socket, _listener) = AdminSocket::bind(&path).await.unwrap();
        let second = AdminSocket::bind(&path).await.err().unwrap().to_string();
        assert!(second.contains("another server answers"), "{second}");
        assert!(path.exists());
    }

    #[tokio::test]
    async fn a_file_in_the_way_is_never_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        std::fs::write(&path, "precious").unwrap();
        assert!(AdminSocket::bind(&path).await.is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn a_path_too_long_for_a_socket_is_said_plainly() {
        let path = PathBuf::from("/").join("x".repeat(150));
        let problem = AdminSocket::bind(&path).await.err().unwrap().to_string();
        assert!(
            problem.contains("longer than 107 bytes") && problem.contains("--admin-socket"),
            "{problem}"
        );
    }

    #[tokio::test]
    async fn a_port_in_use_is_said_with_what_to_do() {
        let first = listen(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let problem = listen(first.local_addr().unwrap()).await.err().unwrap().to_string();
        assert!(problem.contains("another program listens there"), "{problem}");
    }
}
