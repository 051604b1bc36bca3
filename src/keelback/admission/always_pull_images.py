"""AlwaysPullImages: every start asks the registry, so that a pulled image is no way around its credentials."""

from __future__ import annotations

from collections.abc import Iterator

from keelback.admission.plugin import AdmissionPlugin, AdmissionRequest, Operation
from keelback.api import pods
from keelback.api.core_v1 import Container, EphemeralContainer, Pod
from keelback.apimachinery.meta import replace


class AlwaysPullImages(AdmissionPlugin):
    """Sets the pull policy of all containers. Off by default."""

    name = "AlwaysPullImages"
    resources = frozenset({"pods", "pods/ephemeralcontainers"})
    operations = frozenset({Operation.CREATE, Operation.UPDATE})

    async def admit(self, request: AdmissionRequest) -> Pod:
        pod = request.new(Pod)
        if isinstance(request.old_obj, Pod) and set(_images(pod)) <= set(_images(request.old_obj)):
            return pod
        pod = pods.with_containers(pod, lambda container: replace(container, image_pull_policy="Always"))
        ephemeral = tuple(replace(one, image_pull_policy="Always") for one in pod.spec.ephemeral_containers)
        return replace(pod, spec=replace(pod.spec, ephemeral_containers=ephemeral))


def _images(pod: Pod) -> Iterator[str]:
    spec = pod.spec
    containers: tuple[Container | EphemeralContainer, ...] = (
        *spec.init_containers,
        *spec.containers,
        *spec.ephemeral_containers,
    )
    return (container.image for container in containers)
