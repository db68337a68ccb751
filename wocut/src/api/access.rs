//! Who may do what.
//!
//! Over the Unix socket the kernel says who asks. Over TCP a token does. Without tokens, TCP is loopback only: there every
//! local user may read, and nobody may change anything, unless the operator trusts all of them. A page in a browser
//! reaches loopback as well, and a socket that ssh forwards to it: one that made a name of its own resolve to it is told by
//! `Host`, one that sends a request elsewhere by `Origin`. The daemon's own page (`ui`) is neither.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::{
    refusal::Refusal,
    token::{Right, Tokens},
    ui,
};
use crate::sys::peer::Peer;

/// Who is at the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// A process of this host.
    Unix(Peer),
    /// Whoever is at that address.
    Tcp(SocketAddr),
}

/// What is asked, as far as that matters here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish<'a> {
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) headers: &'a HeaderMap,
}

/// The rules.
#[derive(Clone, Debug, Default)]
pub(super) struct Access {
    /// The group that may read over the Unix socket.
    pub(super) readers: Option<u32>,
    /// The group that may change things over the Unix socket.
    pub(super) writers: Option<u32>,
    /// The user of this process.
    pub(super) own: u32,
    /// Who may do what over TCP. None: only what loopback may.
    pub(super) tokens: Option<Tokens>,
    /// Whether every local user may change things over TCP without a token.
    pub(super) trust_local: bool,
}

impl Access {
    /// Who asks, for the log, if they may.
    pub(super) fn admit(&self, caller: &Caller, wish: Wish<'_>) -> Result<String, Refusal> {
        match caller {
            Caller::Unix(peer) => self.admit_peer(peer, wish),
            Caller::Tcp(address) => match &self.tokens {
                Some(tokens) => admit_token(tokens, *address, wish),
                None => self.admit_loopback(*address, wish),
            },
        }
    }

    /// What who asks may do here, if anything. A page shows buttons to those who may press them.
    pub(super) fn right(&self, caller: &Caller, headers: &HeaderMap) -> Option<Right> {
        let may = |method| self.admit(caller, Wish { method, path: "/", headers }).is_ok();
        let reads = || may(&Method::GET).then_some(Right::Read);
        if may(&Method::POST) { Some(Right::Write) } else { reads() }
    }

    fn admit_peer(&self, peer: &Peer, wish: Wish<'_>) -> Result<String, Refusal> {
        let is_in = |group: Option<u32>| group.is_some_and(|group| peer.groups.contains(&group));
        let may_write = peer.uid == 0 || peer.uid == self.own || is_in(self.writers);
        if !wish.is_read() && wish.is_of_a_strange_page() {
            return Err(strange_page());
        }
        if wish.names_a_domain() {
            return Err(other_host());
        }
        if may_write || (wish.is_read() && is_in(self.readers)) {
            return Ok(format!("uid {} (pid {})", peer.uid, peer.pid));
        }
        let what = if wish.is_read() { "looks at" } else { "changes" };
        let refusal = Refusal::forbidden(format!(
            "user {} is not among those whom the API lets in: it {what} services",
            peer.uid
        ));
        Err(refusal.hint("`--group` names the group that reads, `--write-group` the one that changes things"))
    }

    fn admit_loopback(&self, address: SocketAddr, wish: Wish<'_>) -> Result<String, Refusal> {
        if !address.ip().to_canonical().is_loopback() {
            return Err(Refusal::forbidden("without tokens, only this host is answered"));
        }
        if !wish.names_this_host() {
            return Err(other_host());
        }
        if wish.is_read() {
            return Ok(format!("{address}"));
        }
        if !self.trust_local {
            let what =
                "over TCP without a token, nothing is changed: every user and every web page is on loopback";
            let hint = "use the Unix socket, or a token (`--token-file`), or trust all local users (`--http-trust-local`)";
            return Err(Refusal::forbidden(what).hint(hint));
        }
        if wish.is_of_a_strange_page() {
            return Err(strange_page());
        }
        Ok(format!("{address}"))
    }
}

fn admit_token(tokens: &Tokens, address: SocketAddr, wish: Wish<'_>) -> Result<String, Refusal> {
    // Who watches whether a daemon lives has no token, and the page asks for one.
    if wish.is_read() && (["/_live", "/_ready"].contains(&wish.path) || ui::has(wish.path)) {
        return Ok(format!("{address}"));
    }
    let refused = |what: &str| Refusal::new(StatusCode::UNAUTHORIZED, what);
    let given = wish.token().ok_or_else(|| refused("it takes `Authorization: Bearer TOKEN`"))?;
    let token = tokens.find(given).ok_or_else(|| refused("the token is nobody's"))?;
    if token.right == Right::Read && !wish.is_read() {
        return Err(Refusal::forbidden(format!("the token of `{}` may only read", token.name)));
    }
    Ok(format!("token {} ({address})", token.name))
}

fn other_host() -> Refusal {
    let what = "Host: it names another host, as a page in a browser would that is not to be here";
    Refusal::forbidden(what).hint("ask for `127.0.0.1` or `localhost`")
}

fn strange_page() -> Refusal {
    let what =
        "Origin: a web page in a browser changes nothing here, unless it is this daemon's own, on loopback";
    Refusal::forbidden(what)
}

impl<'a> Wish<'a> {
    fn is_read(self) -> bool {
        [Method::GET, Method::HEAD].contains(self.method)
    }

    fn token(self) -> Option<&'a [u8]> {
        let (scheme, token) = self.headers.get(header::AUTHORIZATION)?.as_bytes().split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
    }

    /// A browser always says which host it means.
    fn names_this_host(self) -> bool {
        self.headers.get_all(header::HOST).iter().all(|host| host.to_str().is_ok_and(is_this_host))
    }

    /// Whether the host it means is one of a domain, which somebody may have made resolve to here. Clients of a socket
    /// call it what they like, in one word.
    fn names_a_domain(self) -> bool {
        let is_domain = |host: &str| {
            let name = name(host);
            name.contains('.') && name.parse::<IpAddr>().is_err()
        };
        self.headers.get_all(header::HOST).iter().any(|host| host.to_str().is_ok_and(is_domain))
    }

    /// Whether a page asks that does not come from here: a browser says so of every request that changes something.
    fn is_of_a_strange_page(self) -> bool {
        let mut sites = self.headers.get_all("sec-fetch-site").iter();
        let is_here = |site: &HeaderValue| site == "none" || site == "same-origin";
        !sites.all(is_here) || !self.headers.get_all(header::ORIGIN).iter().all(|origin| self.is_own(origin))
    }

    /// Whether an origin is where this request was sent to, which is loopback.
    fn is_own(self, origin: &HeaderValue) -> bool {
        let authority = origin.to_str().ok().and_then(|origin| Some(origin.split_once("://")?.1));
        let host = self.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        authority.is_some() && authority == host && self.names_this_host()
    }
}

/// Whether `HOST[:PORT]` is loopback by its own words, without a resolver.
fn is_this_host(host: &str) -> bool {
    let name = name(host);
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The name or address of `HOST[:PORT]`.
fn name(host: &str) -> &str {
    match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((v6, _)) => v6,
        None => host.split_once(':').map_or(host, |(name, _)| name),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderName, Method};

    use super::{Access, Caller, Wish};
    use crate::{
        api::token::{Right, Tokens},
        sys::peer::Peer,
    };

    fn tried(access: &Access, caller: &Caller, method: &Method, headers: &[(&'static str, &str)]) -> u16 {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        let wish = Wish { method, path: "/web", headers: &headers };
        access.admit(caller, wish).map_or_else(|refusal| refusal.status.as_u16(), |_| 200)
    }

    fn user(uid: u32, group: u32) -> Caller {
        Caller::Unix(Peer { pid: 1, uid, groups: vec![uid, group] })
    }

    fn tcp(address: &str) -> Caller {
        Caller::Tcp(address.parse().unwrap())
    }

    #[test]
    fn group_reads_and_the_named_group_writes() {
        let access = Access { readers: Some(900), writers: Some(901), own: 50, ..Access::default() };
        for (uid, group, reads, writes) in [
            (0, 0, 200, 200),
            (50, 50, 200, 200),
            (1000, 900, 200, 403),
            (1000, 901, 200, 200),
            (1000, 1000, 403, 403),
        ] {
            let caller = user(uid, group);
            assert_eq!(tried(&access, &caller, &Method::GET, &[]), reads, "{uid}");
            assert_eq!(tried(&access, &caller, &Method::PUT, &[]), writes, "{uid}");
        }
    }

    #[test]
    fn nobody_writes_over_loopback_unless_all_are_trusted() {
        let (safe, trusting) = (Access::default(), Access { trust_local: true, ..Access::default() });
        let here = tcp("127.0.0.1:4000");
        assert_eq!(tried(&safe, &here, &Method::GET, &[]), 200);
        assert_eq!(tried(&safe, &here, &Method::PUT, &[]), 403);
        assert_eq!(tried(&trusting, &here, &Method::PUT, &[("host", "127.0.0.1:9090")]), 200);
        assert_eq!(tried(&trusting, &tcp("192.0.2.1:4000"), &Method::GET, &[]), 403);
    }

    #[test]
    fn page_changes_things_only_if_it_is_the_daemons_own() {
        let trusting = Access { trust_local: true, ..Access::default() };
        let host = ("host", "localhost:9090");
        // A socket that ssh forwards is met by pages as well.
        for caller in [tcp("127.0.0.1:4000"), user(0, 0)] {
            for (headers, status) in [
                (&[host, ("origin", "http://localhost:9090"), ("sec-fetch-site", "same-origin")][..], 200),
                (&[host, ("sec-fetch-site", "none")], 200),
                (&[host, ("origin", "http://evil.example")], 403),
                (&[host, ("origin", "http://localhost:9091"), ("sec-fetch-site", "same-site")], 403),
                (&[host, ("origin", "http://localhost:9090"), ("sec-fetch-site", "cross-site")], 403),
                (&[host, ("origin", "null")], 403),
                (&[("host", "evil.example:9090"), ("origin", "http://evil.example:9090")], 403),
                (&[("origin", "http://localhost:9090")], 403),
            ] {
                assert_eq!(
                    tried(&trusting, &caller, &Method::POST, headers),
                    status,
                    "{caller:?} {headers:?}"
                );
            }
        }
    }

    #[test]
    fn right_is_what_may_be_done() {
        let access = Access { readers: Some(900), own: 50, ..Access::default() };
        let right = |access: &Access, caller| access.right(&caller, &HeaderMap::new());
        assert_eq!(right(&access, user(0, 0)), Some(Right::Write));
        assert_eq!(right(&access, user(1000, 900)), Some(Right::Read));
        assert_eq!(right(&access, user(1000, 1000)), None);
        assert_eq!(right(&access, tcp("127.0.0.1:4000")), Some(Right::Read));
        assert_eq!(right(&access, tcp("192.0.2.1:4000")), None);
    }

    #[test]
    fn name_that_was_made_to_resolve_to_loopback_is_refused() {
        let (access, here) = (Access { trust_local: true, ..Access::default() }, tcp("[::1]:4000"));
        for (host, status) in [
            ("localhost:9090", 200),
            ("[::1]:9090", 200),
            ("127.0.0.2", 200),
            ("evil.example:9090", 403),
            ("127.0.0.1.evil.example", 403),
            ("", 403),
        ] {
            assert_eq!(tried(&access, &here, &Method::GET, &[("host", host)]), status, "{host}");
        }
    }

    #[test]
    fn name_that_was_made_to_resolve_to_a_forwarded_socket_is_refused() {
        for (host, status) in [
            ("localhost:9180", 200),
            ("wocut", 200),
            ("192.0.2.1:9180", 200),
            ("[2001:db8::1]:9180", 200),
            ("evil.example:9180", 403),
            ("127.0.0.1.evil.example", 403),
        ] {
            let status_there = tried(&Access::default(), &user(0, 0), &Method::GET, &[("host", host)]);
            assert_eq!(status_there, status, "{host}");
        }
    }

    #[test]
    fn token_opens_what_it_says() {
        // sha256sum of `secret`.
        let hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        let read = |right: &str| {
            std::fs::write(&path, format!("sha256:{hash} {right} me")).unwrap();
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            Access { tokens: Some(Tokens::read(&path).unwrap()), ..Access::default() }
        };
        let (reader, writer, far) = (read("read"), read("write"), tcp("192.0.2.1:4000"));
        let good = [("authorization", "bearer secret")];
        assert_eq!(tried(&reader, &far, &Method::GET, &good), 200);
        assert_eq!(tried(&reader, &far, &Method::PUT, &good), 403);
        assert_eq!(tried(&writer, &far, &Method::PUT, &good), 200);
        for bad in [&[][..], &[("authorization", "Bearer secre")], &[("authorization", "Basic secret")]] {
            assert_eq!(tried(&writer, &far, &Method::GET, bad), 401);
        }
    }
}
