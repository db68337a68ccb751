//! What can be measured, each with its unit.

use serde::{Deserialize, Serialize};

/// What is measured, and its unit.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Measure {
    ConnectionsPerSecond,
    HostMicrosecondsPerConnection,
    RoundTripsPerSecond,
    RoundTripMicroseconds,
    MebibytesPerSecond,
    ProgramRunsPerRoundTrip,
    PacketsPerSecond,
    P50Milliseconds,
    P99Milliseconds,
    P999Milliseconds,
    StuckRequests,
    LongestMilliseconds,
    AttachMilliseconds,
    ChangeMilliseconds,
    DetachMilliseconds,
    MapKibibytes,
    PeakKibibytes,
    NanosecondsPerRun,
    RunsPerConnection,
    NanosecondsPerConnection,
}

impl Measure {
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::ConnectionsPerSecond => "connections/s",
            Self::HostMicrosecondsPerConnection => "CPU µs/connection",
            Self::RoundTripsPerSecond => "round trips/s",
            Self::RoundTripMicroseconds => "µs/round trip",
            Self::MebibytesPerSecond => "MiB/s",
            Self::ProgramRunsPerRoundTrip => "program runs/round trip",
            Self::PacketsPerSecond => "packets/s",
            Self::P50Milliseconds => "p50 ms",
            Self::P99Milliseconds => "p99 ms",
            Self::P999Milliseconds => "p99.9 ms",
            Self::StuckRequests => "stuck requests",
            Self::LongestMilliseconds => "longest ms",
            Self::AttachMilliseconds => "attach ms",
            Self::ChangeMilliseconds => "change ms",
            Self::DetachMilliseconds => "detach ms",
            Self::MapKibibytes => "KiB of maps",
            Self::PeakKibibytes => "peak KiB",
            Self::NanosecondsPerRun => "ns/run",
            Self::RunsPerConnection => "runs/connection",
            Self::NanosecondsPerConnection => "ns/connection",
        }
    }
}
