"""The flags that every component has: which Kubernetes version it is, and its feature gates."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Final

from keelback.apimachinery import kubernetes_versions
from keelback.apimachinery.kubernetes_versions import CHOICE, DEFAULT, KubernetesVersion
from keelback.component import flags

COMPRESSION: Final = "APIResponseCompression"
"""Whether large answers are compressed: for everybody, for nobody, or, unless it is said, for other machines."""


@dataclass(frozen=True, kw_only=True)
class VersionOptions:
    """Raises FlagError for a version that there is not, and for gates that cannot be as they are asked to be."""

    kubernetes_version: Annotated[str, f"The minor version of Kubernetes to be: {CHOICE}."] = str(DEFAULT)
    feature_gates: Annotated[
        Mapping[str, str], "Features to turn on or off, by their upstream names: A=true,B=false."
    ] = field(default_factory=dict)

    has_switchable_gates: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self.gates()

    @property
    def version(self) -> KubernetesVersion:
        """What `--kubernetes-version` says. Raises FlagError."""
        try:
            return kubernetes_versions.parse(self.kubernetes_version)
        except ValueError as error:
            raise flags.FlagError(f'invalid argument for "--kubernetes-version" flag: {error}') from error

    def gates(self) -> Mapping[str, bool]:
        """What `--feature-gates` asks for. Raises FlagError."""
        version = self.version
        if not self.feature_gates:
            return {}
        from keelback.component import feature_gates

        try:
            return feature_gates.judged(version, self.feature_gates, self._switchable())
        except ValueError as error:
            given = ",".join(f"{name}={value}" for name, value in self.feature_gates.items())
            raise flags.FlagError(f'invalid argument "{given}" for "--feature-gates" flag: {error}') from error

    def _switchable(self) -> Collection[str]:
        """The gates that this component acts on: those of fields and of admission, which are the API server's."""
        if not self.has_switchable_gates:
            return ()
        from keelback.admission import builtin
        from keelback.apiserver import leader_elections
        from keelback.apiserver.claim_access import GRANULAR_STATUS
        from keelback.registry import feature_fields

        own = {COMPRESSION, GRANULAR_STATUS.name, leader_elections.GATE.name}
        return feature_fields.switchable(self.version) | builtin.gates(self.version) | own
