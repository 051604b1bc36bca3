"""What a pod's containers read about names: its host name, resolv.conf and /etc/hosts. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keelback.api.core_v1 import HostAlias, Pod
from keelback.cri.values import DNSConfig

_MAX_HOSTNAME = 63
MAX_KERNEL_HOSTNAME = 64
# What the C library reads, and what upstream's validation allows of search paths.
_MAX_SERVERS, _MAX_SEARCHES, _MAX_SEARCH_CHARACTERS = 3, 32, 2048


@dataclass(frozen=True, slots=True)
class ResolvConf:
    """The node's own resolv.conf."""

    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def parse_resolv_conf(text: str) -> ResolvConf:
    """Read the lines that matter; the last `search` wins, as in the C library."""
    servers: list[str] = []
    searches: tuple[str, ...] = ()
    options: list[str] = []
    for line in text.splitlines():
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        match words[0]:
            case "nameserver" if len(words) > 1:
                servers.append(words[1])
            case "search":
                searches = tuple(word.rstrip(".") or "." for word in words[1:])
            case "options":
                options.extend(words[1:])
    return ResolvConf(tuple(servers), searches, tuple(options))


def hostname(pod: Pod, node_name: str) -> str:
    """The pod's host name without a domain."""
    if pod.spec.hostname_override:
        return pod.spec.hostname_override
    if pod.spec.host_network:
        return node_name
    name = pod.spec.hostname or pod.metadata.name
    return name[:_MAX_HOSTNAME].rstrip("-.") if len(name) > _MAX_HOSTNAME else name


def domain(pod: Pod, cluster_domain: str) -> str:
    """The domain of a pod that belongs to a headless Service by its subdomain; empty for others."""
    if pod.spec.hostname_override or not pod.spec.subdomain:
        return ""
    return f"{pod.spec.subdomain}.{pod.metadata.namespace}.svc.{cluster_domain}"


def kernel_hostname(pod: Pod, node_name: str, cluster_domain: str) -> str:
    """What `hostname` prints inside: the full name where the pod asks for it."""
    name, suffix = hostname(pod, node_name), domain(pod, cluster_domain)
    return f"{name}.{suffix}" if pod.spec.set_hostname_as_fqdn and suffix else name


def dns_config(pod: Pod, cluster_dns: Sequence[str], cluster_domain: str, node: ResolvConf) -> DNSConfig:
    """The pod's resolv.conf by its dnsPolicy and dnsConfig, within what resolvers read."""
    whole = _merged(pod, cluster_dns, cluster_domain, node)
    return DNSConfig(whole.servers[:_MAX_SERVERS], _bounded(whole.searches), whole.options)


def too_much_dns(pod: Pod, cluster_dns: Sequence[str], cluster_domain: str, node: ResolvConf) -> list[str]:
    """What was left out of the pod's resolv.conf, in upstream's words."""
    whole = _merged(pod, cluster_dns, cluster_domain, node)
    found = []
    if len(whole.servers) > _MAX_SERVERS:
        kept = " ".join(whole.servers[:_MAX_SERVERS])
        found.append(
            "Nameserver limits were exceeded, some nameservers have been omitted, "
            f"the applied nameserver line is: {kept}"
        )
    searches = _bounded(whole.searches)
    if searches != whole.searches:
        found.append(
            "Search Line limits were exceeded, some search paths have been omitted, "
            f"the applied search line is: {' '.join(searches)}"
        )
    return found


def _bounded(searches: tuple[str, ...]) -> tuple[str, ...]:
    kept = searches[:_MAX_SEARCHES]
    while len(" ".join(kept)) > _MAX_SEARCH_CHARACTERS:
        kept = kept[:-1]
    return kept


def _merged(pod: Pod, cluster_dns: Sequence[str], cluster_domain: str, node: ResolvConf) -> DNSConfig:
    servers: tuple[str, ...]
    searches: tuple[str, ...]
    options: tuple[str, ...]
    policy = pod.spec.dns_policy or "ClusterFirst"
    if policy == "ClusterFirst" and pod.spec.host_network:
        policy = "Default"
    if policy in ("ClusterFirst", "ClusterFirstWithHostNet") and cluster_dns:
        namespace = pod.metadata.namespace
        own = (f"{namespace}.svc.{cluster_domain}", f"svc.{cluster_domain}", cluster_domain)
        servers, searches, options = tuple(cluster_dns), (*own, *node.searches), ("ndots:5",)
    elif policy == "None":
        servers, searches, options = (), (), ()
    else:
        servers, searches, options = node.servers, node.searches, node.options
    asked = pod.spec.dns_config
    if asked is not None:
        servers = tuple(dict.fromkeys((*servers, *asked.nameservers)))
        searches = tuple(dict.fromkeys((*searches, *asked.searches)))
        merged = dict(option.partition(":")[::2] for option in options)
        merged |= {option.name: option.value for option in asked.options}
        options = tuple(f"{name}:{value}" if value else name for name, value in merged.items())
    return DNSConfig(tuple(servers), tuple(dict.fromkeys(searches)), tuple(options))


def hosts_file(pod: Pod, pod_ips: Sequence[str], node_name: str, cluster_domain: str, node_hosts: str) -> str:
    """The managed /etc/hosts: the node's own for a pod on the node's network."""
    if pod.spec.host_network:
        head = "# Kubernetes-managed hosts file (host network).\n" + node_hosts
        return head + _aliases(pod.spec.host_aliases)
    lines = [
        "# Kubernetes-managed hosts file.",
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "fe00::0\tip6-localnet",
        "fe00::0\tip6-mcastprefix",
        "fe00::1\tip6-allnodes",
        "fe00::2\tip6-allrouters",
    ]
    name, suffix = hostname(pod, node_name), domain(pod, cluster_domain)
    names = f"{name}.{suffix}\t{name}" if suffix else name
    lines += [f"{address}\t{names}" for address in pod_ips]
    return "\n".join(lines) + "\n" + _aliases(pod.spec.host_aliases)


def _aliases(aliases: Sequence[HostAlias]) -> str:
    if not aliases:
        return ""
    lines = [f"{alias.ip}\t" + "\t".join(alias.hostnames) for alias in aliases]
    return "\n# Entries added by HostAliases.\n" + "\n".join(lines) + "\n"
