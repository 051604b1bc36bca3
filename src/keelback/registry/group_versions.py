"""Which group versions each Kubernetes version serves: those that are on by default, and those that can be turned on.

Stable versions are on; of the rest only flow control's, which are older than the rule (KEP-3136) that beta is off.
What is published and not named here is alpha or beta, off by default, and shaped unlike anything that is stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from keelback.api.builtin import STORED
from keelback.apimachinery.kubernetes_versions import DEFAULT, SUPPORTED, KubernetesVersion

GroupVersion: TypeAlias = tuple[str, str]

_FIRST: Final = SUPPORTED[0].minor
_LAST: Final = SUPPORTED[-1].minor

# The first and the last minor version with the group version; those that all have are not named.
_ON: Final[Mapping[GroupVersion, tuple[int, int]]] = {
    ("flowcontrol.apiserver.k8s.io", "v1"): (29, _LAST),
    ("flowcontrol.apiserver.k8s.io", "v1beta3"): (_FIRST, 31),
    ("flowcontrol.apiserver.k8s.io", "v1beta2"): (_FIRST, 28),
    ("resource.k8s.io", "v1"): (34, _LAST),
    ("storagemigration.k8s.io", "v1"): (37, _LAST),
}
# The first of each group's being the one it prefers.
_OFF: Final[Mapping[GroupVersion, tuple[int, int]]] = {
    ("authentication.k8s.io", "v1beta1"): (_FIRST, 32),
    ("authentication.k8s.io", "v1alpha1"): (_FIRST, 31),
    ("certificates.k8s.io", "v1beta1"): (33, _LAST),
    ("certificates.k8s.io", "v1alpha1"): (_FIRST, 36),
    ("networking.k8s.io", "v1beta1"): (31, 36),
    ("networking.k8s.io", "v1alpha1"): (_FIRST, 30),
    ("storage.k8s.io", "v1beta1"): (31, 36),
    ("storage.k8s.io", "v1alpha1"): (29, 34),
    ("admissionregistration.k8s.io", "v1beta1"): (_FIRST, _LAST),
    ("admissionregistration.k8s.io", "v1alpha1"): (_FIRST, _LAST),
    ("scheduling.k8s.io", "v1alpha2"): (36, 36),
    ("coordination.k8s.io", "v1beta1"): (33, _LAST),
    ("coordination.k8s.io", "v1alpha2"): (32, _LAST),
    ("resource.k8s.io", "v1beta2"): (33, _LAST),
    ("resource.k8s.io", "v1beta1"): (32, _LAST),
    ("resource.k8s.io", "v1alpha3"): (33, _LAST),
    ("internal.apiserver.k8s.io", "v1alpha1"): (_FIRST, _LAST),
    ("storagemigration.k8s.io", "v1beta1"): (35, _LAST),
}
_REVIEWS: Final = (("authentication.k8s.io", "v1"), ("authorization.k8s.io", "v1"))


def on_by_default(version: KubernetesVersion) -> frozenset[GroupVersion]:
    """The group versions that a server of that version has unless it is told otherwise."""
    stored = {(one.__kind__.group, one.__kind__.version) for one in STORED}
    candidates = stored.union(_REVIEWS, _ON)
    return frozenset(one for one in candidates if _has(_ON.get(one), version))


def off_by_default(version: KubernetesVersion) -> tuple[GroupVersion, ...]:
    """Those that it has only when it is asked to, the first of each group's being the one the group prefers."""
    return tuple(one for one, minors in _OFF.items() if _has(minors, version))


def _has(minors: tuple[int, int] | None, version: KubernetesVersion) -> bool:
    return minors is None or minors[0] <= version.minor <= minors[1]


OPTIONAL: Final = off_by_default(DEFAULT)
"""`off_by_default` of the default version."""
