//! The behaviour of wocut with real daemons, real clients and a real kernel; one module an area.

mod balance;
mod change;
mod cookies;
mod counters;
mod crash;
mod detach;
mod drain;
mod empty_rules;
mod failover;
mod fallback;
mod forward;
mod guard_rules;
mod harness;
mod input;
mod inspect;
mod listeners;
mod on_empty;
mod policy_rules;
mod trace;
mod udp;
mod udp_rules;
mod verbs;
