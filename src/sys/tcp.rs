//! Connections to other machines.

use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;

/// Connects to the first address of a name that answers, within this long at most.
///
/// IPv6 and IPv4 are tried beside each other (RFC 8305), and addresses of one family share the time between them: a
/// network whose IPv6 leads nowhere is common, and must not cost a connection.
pub fn connector<R>(resolver: R, within: Duration) -> HttpConnector<R> {
    let mut connector = HttpConnector::new_with_resolver(resolver);
    // What runs over the connection is the caller's affair.
    connector.enforce_http(false);
    // Small requests wait for small answers; with Nagle's algorithm a hundred of them take ten times as long.
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(within));
    connector
}

/// An address where nothing answers a connection, not even with a refusal, for as long as this is kept.
#[cfg(test)]
pub async fn black_hole(ip: &str) -> (std::net::SocketAddr, tokio::net::TcpListener, tokio::net::TcpStream) {
    use tokio::net::{TcpSocket, TcpStream};
    let address = std::net::SocketAddr::new(ip.parse().unwrap(), 0);
    let socket = if address.is_ipv6() {
        TcpSocket::new_v6()
    } else {
        TcpSocket::new_v4()
    }
    .unwrap();
    socket.bind(address).unwrap();
    // Room for one that nobody accepts; the kernel drops the opening packets of the next ones.
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let waits = TcpStream::connect(address).await.unwrap();
    (address, listener, waits)
}
