"""Whether the node takes a pod that was bound to it: the scheduler may have been wrong, late or passed over. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from keelback.api import nodes, pods, taints
from keelback.api.core_v1 import Node, Pod

_SAFE_SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_wmem",
    }
)

_IPC_SYSCTLS = ("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.")


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why the pod becomes Failed."""

    reason: str
    message: str


def admit(
    pod: Pod,
    others: Iterable[Pod],
    node: Node,
    allocatable: Mapping[str, str],
    unsafe_sysctls: tuple[str, ...] = (),
) -> Rejection | None:
    """The first thing that is against the pod, or None. `others` are the active pods that the node has taken."""
    return (
        _sysctls(pod, unsafe_sysctls)
        or _unsupported(pod)
        or _fits(pod, list(others), allocatable)
        or _matches(pod, node)
    )


def _matches(pod: Pod, node: Node) -> Rejection | None:
    if not nodes.selected_by(node.metadata.name, node.metadata.labels, pod.spec.node_selector, pod.spec.affinity):
        text = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
        return Rejection("NodeAffinity", f"Pod was rejected: {text}")
    if pods.is_static(pod):
        return None
    taint = taints.untolerated(node.spec.taints, pod.spec.tolerations, frozenset({"NoExecute"}))
    if taint is not None:
        written = f"{taint.key}: {taint.value}" if taint.value else f"{taint.key}: "
        text = f"Predicate TaintToleration failed: node(s) had untolerated taint {{{written}}}"
        return Rejection("TaintToleration", f"Pod was rejected: {text}")
    return None


def _fits(pod: Pod, others: list[Pod], allocatable: Mapping[str, str]) -> Rejection | None:
    room = pods.amounts(allocatable)
    if "pods" in room and len(others) + 1 > room["pods"]:
        return _insufficient("pods", 1, len(others), room["pods"])
    used: dict[str, int] = {}
    for other in others:
        for name, amount in pods.requests(other, use_status=True).items():
            used[name] = used.get(name, 0) + amount
    for name, amount in pods.requests(pod).items():
        # A resource that the node has never heard of is the scheduler's business, as upstream.
        if amount and name in room and used.get(name, 0) + amount > room[name]:
            return _insufficient(name, amount, used.get(name, 0), room[name])
    wanted = pods.host_ports(pod.spec)
    if wanted and any(_conflicts(one, pods.host_ports(other.spec)) for other in others for one in wanted):
        text = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
        return Rejection("NodePorts", f"Pod was rejected: {text}")
    return None


def _insufficient(name: str, asked: int, used: int, capacity: int) -> Rejection:
    text = f"Node didn't have enough resource: {name}, requested: {asked}, used: {used}, capacity: {capacity}"
    return Rejection(f"OutOf{name}", f"Pod was rejected: {text}")


def _conflicts(port: tuple[str, str, int], taken: Iterable[tuple[str, str, int]]) -> bool:
    wildcard = ("0.0.0.0", "::")  # noqa: S104 - addresses to compare with, not to listen on
    return any(
        port[1:] == other[1:] and (port[0] == other[0] or port[0] in wildcard or other[0] in wildcard)
        for other in taken
    )


def _sysctls(pod: Pod, allowed: tuple[str, ...]) -> Rejection | None:
    for one in pod.spec.security_context.sysctls:
        name = one.name.replace("/", ".")
        is_allowed = name in _SAFE_SYSCTLS or any(
            name == rule or (rule.endswith("*") and name.startswith(rule[:-1])) for rule in allowed
        )
        why = "" if is_allowed else "not allowlisted"
        if is_allowed and pod.spec.host_network and name.startswith("net."):
            why = "not allowed with host net enabled"
        if is_allowed and pod.spec.host_ipc and name.startswith(_IPC_SYSCTLS):
            why = "not allowed with host ipc enabled"
        if why:
            return Rejection("SysctlForbidden", f'Pod was rejected: forbidden sysctl: "{name}" {why}')
    return None


def _unsupported(pod: Pod) -> Rejection | None:
    """What the runtime would leave out without a word."""
    shared = pod.spec.security_context
    if shared.supplemental_groups_policy == "Strict":
        text = "Pod was rejected: SupplementalGroupsPolicy=Strict is not supported in this node"
        return Rejection("SupplementalGroupsPolicyNotSupported", text)
    own = [one.security_context for one in pods.all_containers(pod.spec)]
    own += [one.security_context for one in pod.spec.ephemeral_containers]
    profiles = [shared.app_armor_profile, *(one.app_armor_profile for one in own if one is not None)]
    if any(profile is not None and profile.type != "Unconfined" for profile in profiles):
        text = "Pod was rejected: Cannot enforce AppArmor: AppArmor is not enabled on the host"
        return Rejection("AppArmor", text)
    rules = [rule for one in pods.all_containers(pod.spec) for rule in one.restart_policy_rules]
    if any(rule.action == "RestartAllContainers" for rule in rules):
        text = "Pod was rejected: the restart rule RestartAllContainers is not supported in this node"
        return Rejection("RestartAllContainersNotSupported", text)
    return None
