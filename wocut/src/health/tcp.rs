//! Whether an instance takes a connection.

use std::net::SocketAddr;

use tokio::net::{TcpSocket, TcpStream};

use super::{Failure, Target};

/// A connection that ends with RST when it is dropped: one that ends politely would hold its port for a minute, and
/// checks every second add up.
pub(super) async fn connect(target: &Target) -> Result<TcpStream, Failure> {
    let place = target.place();
    let socket = match place {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    };
    let socket = socket.map_err(Failure::Unasked)?;
    socket.set_zero_linger().map_err(Failure::Unasked)?;
    let stream = socket.connect(place).await.map_err(Failure::of_connect)?;
    // Where nobody listens on a port that the kernel gives to clients, a client can be given it, and meet itself.
    match stream.local_addr() {
        Ok(own) if own == place => Err(Failure::Refused),
        _ => Ok(stream),
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use tokio::{io::AsyncReadExt as _, net::TcpListener};

    use super::super::{Failure, Target, ask, patient};
    use crate::model::CheckKind;

    #[tokio::test]
    async fn listener_is_up_and_sees_a_reset() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target::at(listener.local_addr().unwrap());
        let check = patient(CheckKind::Tcp);
        ask(&check, &target).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn closed_port_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target::at(listener.local_addr().unwrap());
        drop(listener);
        let failure = ask(&patient(CheckKind::Tcp), &target).await.unwrap_err();
        assert!(matches!(failure, Failure::Refused), "{failure}");
        assert_eq!(failure.to_string(), "connection refused");
    }
}
