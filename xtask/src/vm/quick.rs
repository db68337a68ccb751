//! A few tests that say most about a kernel. All of them take more than an hour where the processor is emulated; these take
//! two to four minutes, and use what kernels differ in: what the verifier takes, hooks, helpers, links, socket maps. CI runs
//! them on the oldest and the newest kernel.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::command;

const TESTS: [&str; 33] = [
    "api::services_are_managed_over_http::ebpf",
    "api::services_are_managed_over_http::legacy",
    "balance::daemon_on_the_loopback_address_serves_remote_clients::ebpf",
    "balance::daemon_on_the_loopback_address_serves_remote_clients::tc",
    "cluster::worker_that_leaks_is_replaced_and_no_request_is_lost::ebpf",
    "counters::open_connections_are_counted_while_they_are_open::ebpf",
    "counters::open_connections_are_counted_while_they_are_open::tc",
    "crash::two_commands_at_once_both_take_effect::ebpf",
    "detach::detach_leaves_nothing_behind::ebpf",
    "detach::detach_leaves_nothing_behind::tc",
    "drain::drained_instance_keeps_its_connections::ebpf",
    "drain::drained_instance_keeps_its_connections::tc",
    "drain_kill::killing_ends_what_came_through_the_service_to_the_instance::ebpf",
    "explain::explain_takes_no_turn::ebpf",
    "failover::restarted_instance_is_picked_again_in_the_same_second::ebpf",
    "failover::without_any_instance_clients_are_refused_if_told_so::ebpf",
    "failover::without_any_instance_clients_are_refused_if_told_so::tc",
    "fallback::ebpf_is_the_first_choice::ebpf",
    "fallback::without_the_capabilities_iptables_takes_over_and_says_why::legacy",
    "fallback::without_the_capabilities_iptables_takes_over_and_says_why::nft",
    "forward::forwarded_connections_are_left_alone::tc",
    "inspect::bpftool_shows_the_links::ebpf",
    "listeners::dual_stack_listener_serves_both_families::ebpf",
    "listeners::reuseport_group_serves_until_its_last_member_is_killed::ebpf",
    "listeners::shut_listener_is_passed_over::ebpf",
    "run::all_of_a_shell_whose_wrapper_is_killed_before_it_serves_is_ended_by_the_next_one::ebpf",
    "run::hang_up_starts_the_next_generation::ebpf",
    "run::nobody_looks_for_a_socket_that_is_not_there_yet::ebpf",
    "run::what_a_shell_has_started_ends_with_it::ebpf",
    "trace::trace_tells_client_service_instance_and_reason::ebpf",
    "udp::drained_instance_keeps_its_flows::ebpf",
    "udp::new_flows_are_balanced::ebpf",
    "upgrade::a_link_with_a_foreign_program_is_named_and_left_alone::ebpf",
];

/// The arguments by which the test program runs them.
pub(crate) fn arguments(tests: &Path) -> Result<Vec<String>> {
    ensure_present(&command::output(Command::new(tests).args(["--list", "--format=terse"]))?)?;
    Ok(["--exact"].into_iter().chain(TESTS).map(str::to_owned).collect())
}

/// A test that was renamed would no longer be run, and nobody would see it.
fn ensure_present(list: &str) -> Result<()> {
    let present = |test: &str| list.lines().any(|line| line.strip_suffix(": test") == Some(test));
    let missing: Vec<_> = TESTS.into_iter().filter(|test| !present(test)).collect();
    ensure!(
        missing.is_empty(),
        "no such test: {}\nhint: xtask/src/vm/quick.rs names them",
        missing.join(", ")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{TESTS, ensure_present};

    #[test]
    fn a_renamed_test_is_missed() {
        let list = TESTS.map(|test| format!("{test}: test\n")).concat();
        assert!(ensure_present(&list).is_ok());
        let renamed = list.replace("forward::", "forwarding::");
        assert!(ensure_present(&renamed).unwrap_err().to_string().contains("forward::forwarded"));
    }
}
