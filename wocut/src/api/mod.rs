//! The HTTP API of `wocut serve`: shuttle's paths and shapes, and wocut's own beside them.
//!
//! | path | |
//! |---|---|
//! | `GET /`, `/_stats` | figures of all services |
//! | `PUT POST /` | make or replace some |
//! | `GET PUT POST PATCH DELETE /{service}` | figures; make, replace, change, end |
//! | `GET /{service}/_stats`, `/{service}/_config` | figures; configuration |
//! | `GET PUT POST PATCH DELETE /{service}/{backend}` | figures; add, replace, change, take away |
//! | `POST /{service}/{backend}/_drain`, `_ready`, `_maint` | what the operator wants of it |
//! | `GET PUT POST /_config` | all services at once |
//! | `GET /_status`, `/_status/{service}`, `/_wanted`; `POST /_change`, `/_open` | what commands ask |
//! | `GET /_ui`, `/_ui/{file}` | a page for people |
//! | `GET /_live`, `/_ready`, `/_metrics`, `/_events`, `/_openapi.json`; `PUT /_log` | the daemon itself |
//!
//! In reading order, the way of a request:
//!
//! 1. `server` listens (`listen`, `tls`) and accepts (`slots`); `connection` serves one client, with `patience`.
//! 2. `gate` lets a request in (`access`, `token`), and gives errors their shape. `routes` leads it to `services`,
//!    `backends`, `config`, `commands`, `events`, `ui` or `itself`.
//! 3. `body` reads a [`ServiceShape`] or [`BackendShape`], of which `definition` (with `place` and `check`) makes types.
//! 4. `edit` makes a change of that, if `etag` has nothing against it, and `daemon` carries it out.
//! 5. `render`, `stats` and `answer` are the way back.

mod access;
mod answer;
mod backends;
mod body;
mod check;
mod commands;
mod config;
mod connection;
mod daemon;
mod definition;
mod edit;
mod etag;
mod events;
#[cfg(test)]
mod fixture;
mod gate;
mod itself;
mod listen;
mod local;
mod options;
mod patience;
mod place;
mod refusal;
mod render;
mod request;
mod routes;
mod seconds;
mod server;
mod services;
mod shape;
mod slots;
mod stats;
#[cfg(test)]
mod still;
#[cfg(test)]
mod tests;
mod tls;
mod token;
mod ui;

use std::{ops::Deref, sync::Arc};

use tokio::sync::watch;

use self::{access::Access, daemon::Daemon, gate::Counter};
pub use self::{
    answer::{DryRun, ErrorBody, Trouble},
    options::{Limits, Options},
    seconds::Seconds,
    server::Server,
    shape::{BackendShape, ConfigShape, ServiceShape},
    stats::{BackendStats, ServiceStats},
};
pub(crate) use self::{gate::NETNS, options::SOCKET};

/// Whether services are as wanted since the daemon started.
pub type Ready = watch::Receiver<bool>;

/// Changes what is logged, or says why a filter makes no sense.
pub type SetLog = Box<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// What every request has at hand.
struct Shared {
    daemon: Daemon,
    access: Access,
    ready: Ready,
    set_log: SetLog,
    limits: Limits,
    openapi: String,
    ending: watch::Receiver<bool>,
    requests: Counter,
}

/// The same for all of them.
#[derive(Clone)]
struct Api(Arc<Shared>);

impl From<Arc<Shared>> for Api {
    fn from(shared: Arc<Shared>) -> Self {
        Self(shared)
    }
}

impl Deref for Api {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}
