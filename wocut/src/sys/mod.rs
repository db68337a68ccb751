//! The only calls of the operating system outside the engines.

pub mod bpf;
pub mod bpffs;
pub mod capabilities;
pub mod cgroup;
pub mod connections;
pub mod elsewhere;
pub mod group;
pub mod inherited;
pub mod interrupt;
pub mod kernel_types;
pub mod listeners;
pub mod lock;
pub mod netlink;
pub mod netns;
pub mod peer;
pub mod pidfd;
pub mod processes;
pub mod readable;
pub mod reserved_ports;
pub mod rtnetlink;
pub mod shared_array;
mod sock_diag;
pub mod sockets;
pub mod tool;
pub mod unix_socket;
pub mod watch;
pub mod without_files;
