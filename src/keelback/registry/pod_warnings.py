"""What a pod or template may say and had better not: warnings beside the answer, never a refusal."""

from __future__ import annotations

from collections.abc import Iterator

from keelback.api.core_v1 import Container, PodSpec

_DEPRECATED_LABELS = {
    "beta.kubernetes.io/arch": "kubernetes.io/arch",
    "beta.kubernetes.io/os": "kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "beta.kubernetes.io/instance-type": "node.kubernetes.io/instance-type",
}


def of_spec(spec: PodSpec, path: str) -> Iterator[str]:
    """The warnings about a pod's spec."""
    for key in spec.node_selector:
        if key in _DEPRECATED_LABELS:
            newer = _DEPRECATED_LABELS[key]
            yield f'{path}.nodeSelector[{key}]: deprecated since v1.14; use "{newer}" instead'
    seen: set[str] = set()
    for index, secret in enumerate(spec.image_pull_secrets):
        if not secret.name:
            yield f'{path}.imagePullSecrets[{index}].name: invalid empty name ""'
        elif secret.name in seen:
            yield f'{path}.imagePullSecrets[{index}].name: duplicate name "{secret.name}"'
        seen.add(secret.name)
    if spec.termination_grace_period_seconds < 0:
        yield (
            f"{path}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
        )
    for field, containers in (("containers", spec.containers), ("initContainers", spec.init_containers)):
        for index, container in enumerate(containers):
            yield from _of_container(container, f"{path}.{field}[{index}]")


def _of_container(container: Container, path: str) -> Iterator[str]:
    names: set[str] = set()
    for index, variable in enumerate(container.env):
        if variable.name in names:
            yield (
                f'{path}.env[{index}]: hides previous definition of "{variable.name}", '
                "which may be dropped when using apply"
            )
        names.add(variable.name)
    seen: dict[tuple[int, str], int] = {}
    for index, port in enumerate(container.ports):
        key = (port.container_port, port.protocol)
        if key in seen:
            yield (f"{path}.ports[{index}]: duplicate port definition with {path}.ports[{seen[key]}]")
        seen.setdefault(key, index)
