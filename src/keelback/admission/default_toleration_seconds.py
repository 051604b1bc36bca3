"""DefaultTolerationSeconds: pods stay five minutes on a node that is not ready or unreachable."""

from __future__ import annotations

from keelback.admission.plugin import AdmissionPlugin, AdmissionRequest, Operation
from keelback.api.core_v1 import Pod, PodSpec, Toleration
from keelback.apimachinery.meta import replace
from keelback.apimachinery.remembered import remembered

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
        self._tolerant = remembered(self._with_added)

    async def admit(self, request: AdmissionRequest) -> Pod:
        pod = request.new(Pod)
        spec = self._tolerant(pod.spec)
        return pod if spec is pod.spec else replace(pod, spec=spec)

    def _with_added(self, spec: PodSpec) -> PodSpec:
        given = spec.tolerations
        missing = tuple(added for added in self._added if not any(_covers(one, added.key) for one in given))
        return replace(spec, tolerations=(*given, *missing)) if missing else spec


def _covers(toleration: Toleration, key: str) -> bool:
    return toleration.key in ("", key) and toleration.effect in ("", "NoExecute")
