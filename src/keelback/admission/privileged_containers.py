"""No privileged containers, where --allow-privileged=false: no plugin upstream, where validation sees to it."""

from __future__ import annotations

from collections.abc import Iterator

from keelback.admission.plugin import AdmissionPlugin, AdmissionRequest, Operation
from keelback.admission.pod_security import WORKLOADS, template_of
from keelback.api.batch_v1 import CronJob
from keelback.api.core_v1 import Pod, PodSpec, PodTemplate
from keelback.apimachinery import errors
from keelback.apimachinery.errors import FieldError


class PrivilegedContainers(AdmissionPlugin):
    """Refuses pods with such containers, and what would make such pods."""

    name = "PrivilegedContainers"
    resources = frozenset({"pods", "pods/ephemeralcontainers", *WORKLOADS})
    operations = frozenset({Operation.CREATE, Operation.UPDATE})

    async def validate(self, request: AdmissionRequest) -> None:
        obj = request.obj
        template = None if isinstance(obj, Pod) else template_of(obj)
        spec = obj.spec if isinstance(obj, Pod) else None if template is None else template.spec
        problems = [] if spec is None else list(_privileged(spec, _path(obj)))
        if problems:
            raise errors.Invalid.of(request.kind, request.name, problems)


def _path(obj: object) -> str:
    match obj:
        case Pod():
            return "spec"
        case PodTemplate():
            return "template.spec"
        case CronJob():
            return "spec.jobTemplate.spec.template.spec"
        case _:
            return "spec.template.spec"


def _privileged(spec: PodSpec, path: str) -> Iterator[FieldError]:
    contexts = {
        "containers": [one.security_context for one in spec.containers],
        "initContainers": [one.security_context for one in spec.init_containers],
        "ephemeralContainers": [one.security_context for one in spec.ephemeral_containers],
    }
    for name, listed in contexts.items():
        for index, context in enumerate(listed):
            if context is not None and context.privileged:
                where = f"{path}.{name}[{index}].securityContext.privileged"
                yield errors.forbidden(where, "disallowed by cluster policy")
