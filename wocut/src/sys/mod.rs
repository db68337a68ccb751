//! The only calls of the operating system outside the engines.

pub mod bpf;
pub mod bpffs;
pub mod capabilities;
pub mod cgroup;
pub mod connections;
pub mod interfaces;
pub mod interrupt;
pub mod listeners;
pub mod lock;
pub mod netns;
pub mod readable;
pub mod reserved_ports;
mod sock_diag;
