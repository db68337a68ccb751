//! Addresses as shuttle writes them: `ADDR:PORT`, where no address is every one.

use std::net::{IpAddr, SocketAddr};

use super::refusal::Refusal;
use crate::model::{Listen, Protocol};

/// An address, if not every one, and a port.
pub(super) type Place = (Option<IpAddr>, u16);

/// Reads `ADDR:PORT`, `:PORT` or `PORT`.
pub(super) fn read(field: &str, text: &str) -> Result<Place, Refusal> {
    let text = text.trim();
    let port = text.strip_prefix(':').filter(|port| !port.contains(':'));
    let local = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    let place = port.or(local.as_deref()).unwrap_or(text);
    let listen = format!("{place}/tcp").parse::<Listen>().map_err(|_| {
        let why = "an address is IPv4 or IPv6 in brackets, and a port is 1 to 65535";
        Refusal::unprocessable(format!("{field}: `{}` is not `ADDR:PORT`: {why}", shown(text)))
    })?;
    Ok((listen.address.filter(|address| !address.is_unspecified()), listen.port))
}

/// Reads `tcp` or `udp`.
pub(super) fn protocol(field: &str, text: &str) -> Result<Protocol, Refusal> {
    match text {
        "" | "tcp" | "tcp4" | "tcp6" => Ok(Protocol::Tcp),
        "udp" | "udp4" | "udp6" => Ok(Protocol::Udp),
        _ => Err(Refusal::unprocessable(format!("{field}: `{}` is neither `tcp` nor `udp`", shown(text)))),
    }
}

/// `0.0.0.0:PORT` for every address: what clients of shuttle expect of a service.
pub(super) fn of_service(listen: Listen) -> String {
    let any = IpAddr::from([0, 0, 0, 0]);
    SocketAddr::new(listen.address.unwrap_or(any), listen.port).to_string()
}

/// `:PORT` for any address: a client that connects there reaches this host.
pub(super) fn of_backend((address, port): Place) -> String {
    address.map_or_else(|| format!(":{port}"), |address| SocketAddr::new(address, port).to_string())
}

/// A text from outside, short and without what would steer a terminal.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_default).collect()
}

#[cfg(test)]
mod tests {
    use super::{of_backend, protocol, read};

    #[test]
    fn no_address_is_every_address() {
        for (text, shown) in [
            ("0.0.0.0:80", ":80"),
            ("[::]:80", ":80"),
            (":80", ":80"),
            ("80", ":80"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("localhost:80", "127.0.0.1:80"),
            ("[::1]:80", "[::1]:80"),
            ("[::ffff:192.0.2.1]:80", "192.0.2.1:80"),
        ] {
            let place = read("address", text).unwrap();
            assert_eq!(of_backend(place), shown, "{text}");
            assert_eq!(read("address", shown).unwrap(), place);
        }
    }

    #[test]
    fn bad_address_is_refused_with_its_field() {
        for bad in ["", ":", ":0", "a:80", "::1:80", "1.2.3.4", "1.2.3.4:80/tcp", "8\n0", &"x".repeat(999)] {
            let refusal = read("address", bad).unwrap_err();
            assert!(refusal.message.starts_with("address: ") && refusal.message.len() < 250, "{refusal}");
        }
        assert!(protocol("network", "sctp").is_err());
    }
}
