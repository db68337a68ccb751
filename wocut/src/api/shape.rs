//! What clients send and get as configuration: shuttle's fields, and wocut's own beside them.
//!
//! The same shape goes both ways: what is read can be written. A client that is not this daemon shares this file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::Seconds;

/// A service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = Service)]
pub struct ServiceShape {
    /// Its name; in a body it may be left out, as the path has it.
    pub name: Option<String>,
    /// Where it takes connections: `ADDR:PORT`; `0.0.0.0:80`, `:80` and `80` are every address. The first one, where
    /// `listen` has several.
    pub address: Option<String>,
    /// Who serves them.
    pub backends: Option<Vec<BackendShape>>,
    /// `RR` (round robin, the default) or `LC` (least connected). Null where `policy` is neither.
    pub balance: Option<String>,
    /// From one check to the next. 0 is the usual time; a service without a check has 0.
    #[schema(value_type = Option<f64>)]
    pub check_interval: Option<Seconds>,
    /// So many bad answers in a row, and a backend is down. 0 is the usual number.
    pub fall: Option<u8>,
    /// So many good ones, and it is up. 0 is the usual number.
    pub rise: Option<u8>,
    /// 0: the kernel ends no idle connections.
    #[schema(value_type = Option<f64>)]
    pub client_timeout: Option<Seconds>,
    /// 0: the kernel ends no idle connections.
    #[schema(value_type = Option<f64>)]
    pub server_timeout: Option<Seconds>,
    /// How long a check may take. 0 is the usual time.
    #[schema(value_type = Option<f64>)]
    pub connect_timeout: Option<Seconds>,
    /// `tcp` (the default) or `udp`, of `address`.
    pub network: Option<String>,
    /// False: wocut reads no HTTP.
    #[serde(rename = "https-redirect", skip_serializing_if = "Option::is_none")]
    pub https_redirect: Option<bool>,
    /// Empty: wocut reads no HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub virtual_hosts: Option<Vec<String>>,
    /// Empty: wocut reads no HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_pages: Option<BTreeMap<String, Vec<u16>>>,
    /// False: `POST /{service}/{backend}/_maint` takes a backend out of use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maintenance_mode: Option<bool>,
    /// All places where it takes connections: `[ADDR:]PORT/tcp|udp`.
    pub listen: Option<Vec<String>>,
    /// How a pick is made: `random`, `round-robin`, `least-conn`, `least-backlog`, `sticky`.
    pub policy: Option<String>,
    /// Leading bits of a client's address that make one client for `sticky`: of IPv4, and after a comma of IPv6.
    pub sticky_prefix: Option<String>,
    /// When no backend can serve: `pass`, `drop`, `reject`.
    pub on_empty: Option<String>,
    /// Whether remote clients of the backends' own ports are refused.
    pub guard: Option<bool>,
    /// The eBPF hook that picks for TCP: `auto`, `sk_lookup`, `tc`.
    pub hook: Option<String>,
    /// Whether an engine that cannot do all this may do less.
    pub allow_degraded: Option<bool>,
    /// How long a backend that came up has less than its share: from a tenth of it to the whole. 0: not at all.
    #[schema(value_type = Option<f64>)]
    pub slow_start: Option<Seconds>,
    /// `auto`, `ebpf`, `iptables`.
    pub engine: Option<String>,
    /// A line for people.
    pub description: Option<String>,
    /// How backends show that they are up, with all its fields: `type`, `interval`, `timeout`, `rise`, `fall`, and what
    /// the type has.
    #[schema(value_type = Option<Object>)]
    pub check: Option<Value>,
}

/// A backend: what wocut calls an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = Backend)]
pub struct BackendShape {
    /// Its name; in a body it may be left out, as the path has it, or as it is the port.
    pub name: Option<String>,
    /// Where it is on this host: `ADDR:PORT`, or `:PORT` where it listens on any address.
    pub address: Option<String>,
    /// Where it is checked: its address, or another place. Empty: it is not.
    pub check_address: Option<String>,
    /// Its relative share: 0 to 256; 1 unless given, and 0 is no new connections.
    pub weight: Option<u16>,
    /// `tcp` or `udp`, as the service has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// What the operator wants of it: `ready`, `drain`, `maint`. Left out: as it is.
    pub admin: Option<String>,
    /// Whether it is for the time when no other one can take connections.
    pub backup: Option<bool>,
    /// A check of its own in the place of the service's, or `false` for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<Value>,
}

/// All services, as later versions of shuttle have them. What is given beside `services` is for those that do not say
/// it themselves.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = Config)]
pub struct ConfigShape {
    /// All of them.
    pub services: Vec<ServiceShape>,
    /// As a service's.
    pub balance: Option<String>,
    /// As a service's.
    #[schema(value_type = Option<f64>)]
    pub check_interval: Option<Seconds>,
    /// As a service's.
    pub fall: Option<u8>,
    /// As a service's.
    pub rise: Option<u8>,
    /// As a service's.
    #[schema(value_type = Option<f64>)]
    pub client_timeout: Option<Seconds>,
    /// As a service's.
    #[schema(value_type = Option<f64>)]
    pub server_timeout: Option<Seconds>,
    /// As a service's.
    #[schema(value_type = Option<f64>)]
    pub connect_timeout: Option<Seconds>,
    /// As a service's.
    #[serde(rename = "https-redirect")]
    pub https_redirect: Option<bool>,
}

impl ConfigShape {
    /// The services, each with all that is said of it.
    pub fn services(self) -> Vec<ServiceShape> {
        let Self {
            services,
            balance,
            check_interval,
            fall,
            rise,
            client_timeout,
            server_timeout,
            connect_timeout,
            https_redirect,
        } = self;
        let filled = |service: ServiceShape| ServiceShape {
            // A policy that a service names is not to disagree with what all have.
            balance: service
                .balance
                .clone()
                .or_else(|| service.policy.is_none().then(|| balance.clone()).flatten()),
            check_interval: service.check_interval.or(check_interval),
            fall: service.fall.or(fall),
            rise: service.rise.or(rise),
            client_timeout: service.client_timeout.or(client_timeout),
            server_timeout: service.server_timeout.or(server_timeout),
            connect_timeout: service.connect_timeout.or(connect_timeout),
            https_redirect: service.https_redirect.or(https_redirect),
            ..service
        };
        services.into_iter().map(filled).collect()
    }
}
