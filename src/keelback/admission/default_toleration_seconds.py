"""DefaultTolerationSeconds: pods stay five minutes on a node that is not ready or unreachable."""

from __future__ import annotations

from keelback.admission.plugin import AdmissionPlugin, AdmissionRequest, Operation
from keelback.api.core_v1 import Pod, Toleration
from keelback.apimachinery.meta import replace

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
DEFAULT_SECONDS = 300


class DefaultTolerationSeconds(AdmissionPlugin):
    """Adds the tolerations a pod does not have already."""

    name = "DefaultTolerationSeconds"
    resources = frozenset({"pods"})
    operations = frozenset({Operation.CREATE, Operation.UPDATE})

    def __init__(self, not_ready_seconds: int = DEFAULT_SECONDS, unreachable_seconds: int = DEFAULT_SECONDS) -> None:
        self._added = tuple(
            Toleration(key=key, operator="Exists", effect="NoExecute", toleration_seconds=seconds)
            for key, seconds in ((NOT_READY, not_ready_seconds), (UNREACHABLE, unreachable_seconds))
        )

    async def admit(self, request: AdmissionRequest) -> Pod:
        pod = request.new(Pod)
        tolerations = pod.spec.tolerations
        missing = tuple(added for added in self._added if not any(_covers(one, added.key) for one in tolerations))
        if not missing:
            return pod
        return replace(pod, spec=replace(pod.spec, tolerations=(*tolerations, *missing)))


def _covers(toleration: Toleration, key: str) -> bool:
    return toleration.key in ("", key) and toleration.effect in ("", "NoExecute")
