//! The behaviour of wocut with real daemons, real clients and a real kernel; one module an area.

mod balance;
mod change;
mod config;
mod cookies;
mod counters;
mod crash;
mod detach;
mod drain;
mod drain_kill;
mod drain_wait;
mod failover;
mod fallback;
mod flood;
mod forward;
mod guard;
mod harness;
mod input;
mod inspect;
mod listeners;
mod on_empty;
mod policies;
mod rate;
mod side_by_side;
mod trace;
mod udp;
mod verbs;
