"""A controller manager's flags that only one which runs alone has: who signs certificates, how a leader is chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
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


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ClusterError(f"{path}: {error.strerror}") from error
