//! What the integration tests stand on: network namespaces, real daemons, clients that count, and the `wocut` command itself.
//!
//! Everything here panics when something goes wrong, because a panic is how a Rust test fails, and everything that is
//! made (namespaces, processes, rules, pins, state files) is taken away by a `Drop`, so also after a panic.
//!
//! A test reads from the outside in: a [`host::Host`] is a [`lan::Lan`] and an [`engine::Engine`]; daemons
//! ([`daemon::Daemon`]) listen in it; [`wocut`] runs the command, for a [`user::User`] who is not root as well, and on a
//! [`screen::Screen`]; a [`browser::Browser`] looks at the daemon's page; [`client`], [`load`] and [`held`]
//! connect, [`udp`] sends datagrams, a [`crowd::Crowd`] has many addresses; [`rival`] is what else is on the host;
//! [`tally`] and [`stats`] judge what came back. A [`wrapper::Wrapper`] starts one of the [`commands`], in a
//! [`container::Container`] if need be, and [`requests`] asks those.
//! [`docs`] types what the documentation has to be typed. A [`root::Root`] is for what installs packages.

pub mod browser;
pub mod client;
pub mod commands;
pub mod container;
pub mod crowd;
pub mod daemon;
pub mod docs;
pub mod emulated;
pub mod engine;
pub mod figures;
pub mod flood;
pub mod frames;
pub mod go;
pub mod held;
pub mod host;
pub mod lan;
pub mod load;
pub mod must;
pub mod need;
pub mod netns;
pub mod notifications;
pub mod pins;
pub mod processes;
pub mod random;
pub mod requests;
pub mod rival;
pub mod root;
pub mod rules;
pub mod screen;
pub mod serve;
pub mod sockets;
pub mod sources;
pub mod stats;
pub mod tally;
pub mod tool;
pub mod udp;
pub mod user;
pub mod wait;
pub mod watch;
pub mod wocut;
pub mod wrapper;
