"""A controller manager's flags that only one which runs alone has: who signs certificates, how a leader is chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from keelback.bootstrap.cluster_state import ClusterError
from keelback.component.flags import Duration, FlagError

if TYPE_CHECKING:
    from keelback.controllers.certificate_signer import CASigner
    from keelback.controllers.config import Config, LeaderElection

_SIGNERS: Mapping[str, str] = {
    "kube_apiserver_client": "kubernetes.io/kube-apiserver-client",
    "kubelet_client": "kubernetes.io/kube-apiserver-client-kubelet",
    "kubelet_serving": "kubernetes.io/kubelet-serving",
    "legacy_unknown": "kubernetes.io/legacy-unknown",
}
_JITTER = 1.2
"""A retry may come that much later than its period says."""


@dataclass(frozen=True, kw_only=True)
class SigningOptions:
    cluster_signing_cert_file: Annotated[str, "The authority that signs approved certificate requests."] = ""
    cluster_signing_key_file: Annotated[str, "Its key."] = ""
    cluster_signing_kube_apiserver_client_cert_file: Annotated[
        str, "The authority for kubernetes.io/kube-apiserver-client alone."
    ] = ""
    cluster_signing_kube_apiserver_client_key_file: Annotated[str, "Its key."] = ""
    cluster_signing_kubelet_client_cert_file: Annotated[
        str, "The authority for kubernetes.io/kube-apiserver-client-kubelet alone."
    ] = ""
    cluster_signing_kubelet_client_key_file: Annotated[str, "Its key."] = ""
    cluster_signing_kubelet_serving_cert_file: Annotated[
        str, "The authority for kubernetes.io/kubelet-serving alone."
    ] = ""
    cluster_signing_kubelet_serving_key_file: Annotated[str, "Its key."] = ""
    cluster_signing_legacy_unknown_cert_file: Annotated[
        str, "The authority for kubernetes.io/legacy-unknown alone."
    ] = ""
    cluster_signing_legacy_unknown_key_file: Annotated[str, "Its key."] = ""

    def with_signers(self, config: Config) -> Config:
        """The controllers' config with the authority for all built-in signers, or those for each.

        Raises FlagError, and ClusterError for a file that cannot be read.
        """
        single = {name: made for flag, name in _SIGNERS.items() if (made := self._signer(f"cluster_signing_{flag}"))}
        general = self._signer("cluster_signing")
        if general is not None and single:
            raise FlagError(
                "cannot specify --cluster-signing-{cert,key}-file and other --cluster-signing-*-file flags at the same "
                "time"
            )
        return replace(config, signer=general or config.signer, signers=single)

    def _signer(self, prefix: str) -> CASigner | None:
        from keelback.controllers.certificate_signer import CASigner

        names = (f"{prefix}_cert_file", f"{prefix}_key_file")
        paths = {f"--{name.replace('_', '-')}": getattr(self, name) for name in names}
        if not any(paths.values()):
            return None
        for flag, path in paths.items():
            if not path:
                raise FlagError(f"{flag} is needed")
        try:
            return CASigner(*(_read(path) for path in paths.values()))
        except ValueError as error:
            raise ClusterError(f"{', '.join(paths)}: {error}") from error


@dataclass(frozen=True, kw_only=True)
class LeaderElectionOptions:
    leader_elect: Annotated[bool, "Wait until no other controller manager leads."] = True
    leader_elect_lease_duration: Annotated[Duration, "How long others wait for a leader that is silent."] = 15.0
    leader_elect_renew_deadline: Annotated[Duration, "How long a leader tries to say that it leads."] = 10.0
    leader_elect_retry_period: Annotated[Duration, "How often it tries."] = 2.0
    leader_elect_resource_lock: Annotated[str, "What kind of object says who leads: leases."] = "leases"
    leader_elect_resource_name: Annotated[str, "The Lease's name."] = "kube-controller-manager"
    leader_elect_resource_namespace: Annotated[str, "The Lease's namespace."] = "kube-system"

    def leader_election(self) -> LeaderElection:
        """What the flags say. Raises FlagError."""
        from keelback.controllers.config import LeaderElection

        if self.leader_elect_resource_lock != "leases":
            raise FlagError(
                f'invalid argument "{self.leader_elect_resource_lock}" for "--leader-elect-resource-lock" flag: only '
                '"leases" is there'
            )
        lease, deadline, retry = (
            self.leader_elect_lease_duration,
            self.leader_elect_renew_deadline,
            self.leader_elect_retry_period,
        )
        if lease <= deadline:
            raise FlagError("--leader-elect-lease-duration must be greater than --leader-elect-renew-deadline")
        if deadline <= _JITTER * retry:
            raise FlagError(f"--leader-elect-renew-deadline must be greater than --leader-elect-retry-period*{_JITTER}")
        namespace, name = self.leader_elect_resource_namespace, self.leader_elect_resource_name
        return LeaderElection(namespace, name, int(lease), deadline, retry)


@dataclass(frozen=True, kw_only=True)
class NodeRangeOptions:
    allocate_node_cidrs: Annotated[bool, "Give each node that has none a part of --cluster-cidr."] = False
    cluster_cidr: Annotated[str, "The addresses of pods: one range, or an IPv4 and an IPv6 one with a comma."] = ""
    service_cluster_ip_range: Annotated[str, "The addresses of Services, which no node gets."] = ""
    node_cidr_mask_size: Annotated[
        int, "The mask of each node's part, where there is one range; 24 for IPv4 and 64 for IPv6 if not given."
    ] = 0
    node_cidr_mask_size_ipv4: Annotated[int, "The mask of each node's IPv4 part; 24 if not given."] = 0
    node_cidr_mask_size_ipv6: Annotated[int, "The mask of each node's IPv6 part; 64 if not given."] = 0
    cidr_allocator_type: Annotated[
        str, "How nodes get their parts. Only RangeAllocator here: there is no cloud that could do it."
    ] = "RangeAllocator"
    cluster_name: Annotated[
        str, "Upstream's name for what a cloud provider makes. Without effect here, where there is none."
    ] = "kubernetes"

    def with_node_cidrs(self, config: Config) -> Config:
        """The controllers' config with the ranges that nodes get parts of. Raises FlagError."""
        if self.cidr_allocator_type != "RangeAllocator":
            raise FlagError(
                f'invalid argument "{self.cidr_allocator_type}" for "--cidr-allocator-type" flag: only '
                '"RangeAllocator" is there'
            )
        if not self.allocate_node_cidrs:
            return config
        ranges = _ranges("--cluster-cidr", self.cluster_cidr)
        if not ranges:
            raise FlagError("--cluster-cidr is needed")
        masks = self._masks([one.version for one in ranges])
        for one in ranges:
            if not one.prefixlen <= masks[one.version] <= one.max_prefixlen:
                raise FlagError(f"--node-cidr-mask-size of {masks[one.version]} is not within --cluster-cidr {one}")
        return replace(
            config,
            allocate_node_cidrs=True,
            cluster_cidrs=tuple(map(str, ranges)),
            node_cidr_mask_size_ipv4=masks[4],
            node_cidr_mask_size_ipv6=masks[6],
            service_cidrs=tuple(map(str, _ranges("--service-cluster-ip-range", self.service_cluster_ip_range))),
        )

    def _masks(self, versions: Sequence[int]) -> Mapping[int, int]:
        """By IP version."""
        own = {4: self.node_cidr_mask_size_ipv4, 6: self.node_cidr_mask_size_ipv6}
        if len(versions) > 1 and self.node_cidr_mask_size:
            raise FlagError("usage of --node-cidr-mask-size is not allowed with dual-stack clusters")
        for version, mask in own.items():
            if mask and version not in versions:
                raise FlagError(f"--node-cidr-mask-size-ipv{version} is not for a --cluster-cidr without IPv{version}")
            if mask and self.node_cidr_mask_size:
                raise FlagError(f"--node-cidr-mask-size and --node-cidr-mask-size-ipv{version} exclude each other")
        return {version: mask or self.node_cidr_mask_size or _MASKS[version] for version, mask in own.items()}


_MASKS: Mapping[int, int] = {4: 24, 6: 64}


def _ranges(flag: str, text: str) -> list[IPv4Network | IPv6Network]:
    """At most one range of each IP version. Raises FlagError."""
    try:
        found = [ip_network(part.strip()) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise FlagError(f'invalid argument "{text}" for "{flag}" flag: {error}') from error
    if len({one.version for one in found}) != len(found):
        raise FlagError(f'invalid argument "{text}" for "{flag}" flag: one range of each IP version at most')
    return found


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ClusterError(f"{path}: {error.strerror}") from error
