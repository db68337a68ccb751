//! Whose a rule is, as far as names tell.

/// How tools begin the names of their chains and tables.
const TOOLS: [(&str, &str); 24] = [
    ("DOCKER", "Docker"),
    ("docker", "Docker"),
    ("NETAVARK", "Podman"),
    ("netavark", "Podman"),
    ("KUBE-", "Kubernetes"),
    ("kube-", "Kubernetes"),
    ("CNI-", "the CNI plugin portmap"),
    ("cni_", "the CNI plugin portmap"),
    ("ISTIO_", "Istio"),
    ("CILIUM_", "Cilium"),
    ("cali-", "Calico"),
    ("FLANNEL", "flannel"),
    ("KUBE", "Kubernetes"),
    ("firewalld", "firewalld"),
    ("PRE_", "firewalld"),
    ("PREROUTING_direct", "firewalld"),
    ("ufw", "ufw"),
    ("f2b-", "fail2ban"),
    ("ts-", "Tailscale"),
    ("wg-quick", "wg-quick"),
    ("LIBVIRT_", "libvirt"),
    ("libvirt", "libvirt"),
    ("lxc", "LXC"),
    ("fw4", "OpenWrt's firewall"),
];

/// `Docker, chain DOCKER of iptables table nat`.
pub(super) fn name(table: &str, chains: &[&str]) -> String {
    let table_name = table.rsplit(' ').next().unwrap_or_default();
    let names = chains.iter().rev().copied().chain([table_name]);
    let mut tools = names.filter_map(|name| TOOLS.iter().find(|(start, _)| name.starts_with(start)));
    let tool = tools.next().map(|(_, tool)| format!("{tool}, ")).unwrap_or_default();
    format!("{tool}chain {} of {table}", chains.last().copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn tools_are_known_by_their_chains_and_tables() {
        assert_eq!(
            name("iptables table nat", &["PREROUTING", "KUBE-SERVICES", "KUBE-SVC-X"]),
            "Kubernetes, chain KUBE-SVC-X of iptables table nat"
        );
        assert_eq!(
            name("nft table inet firewalld", &["nat_PREROUTING", "nat_PRE_public_allow"]),
            "firewalld, chain nat_PRE_public_allow of nft table inet firewalld"
        );
        assert_eq!(name("iptables table nat", &["PREROUTING"]), "chain PREROUTING of iptables table nat");
    }
}
