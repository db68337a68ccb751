//! The behaviour of wocut with real daemons, real clients and a real kernel; one module an area.

mod balance;
mod change;
mod config;
mod conflicts;
mod cookies;
mod counters;
mod crash;
mod detach;
mod doctor;
mod drain;
mod drain_kill;
mod drain_wait;
mod failover;
mod fallback;
mod forward;
mod harness;
mod input;
mod inspect;
mod listeners;
mod on_empty;
mod trace;
mod udp;
mod udp_flows;
mod udp_packets;
mod verbs;
