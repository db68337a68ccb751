//! What peers are to balance.

/// Ports of the instances are from here on, below those that the kernel gives to outgoing connections.
const FIRST_INSTANCE: u16 = 20_001;

#[derive(Clone, Copy, Eq, PartialEq)]
pub(in crate::bench) enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    pub(in crate::bench) const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// Instances, and how clients talk to them.
pub(in crate::bench) struct Service {
    pub(in crate::bench) transport: Transport,
    pub(in crate::bench) instances: Vec<u16>,
}

impl Service {
    pub(in crate::bench) fn tcp(instances: u16) -> Self {
        Self { transport: Transport::Tcp, instances: ports(instances) }
    }
}

/// The ports of that many instances.
pub(in crate::bench) fn ports(instances: u16) -> Vec<u16> {
    (FIRST_INSTANCE..FIRST_INSTANCE + instances).collect()
}
