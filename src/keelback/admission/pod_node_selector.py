"""PodNodeSelector: a namespace's annotation says on which nodes its pods run. Off by default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from keelback.admission.plugin import AdmissionPlugin, AdmissionRequest, Reader
from keelback.api.core_v1 import Namespace, Pod
from keelback.apimachinery.meta import Object, narrow, replace

CLUSTER_DEFAULT: Final = "clusterDefaultNodeSelector"
"""What the plugin's file calls the selector of namespaces that say nothing."""
_ANNOTATION = "scheduler.alpha.kubernetes.io/node-selector"


@narrow(Namespace)
class _NamespaceAnnotations(Object):
    """A namespace, of which only the annotations are of interest."""


class PodNodeSelector(AdmissionPlugin):
    """Merges the namespace's selector into the pod's, or refuses where they disagree."""

    name = "PodNodeSelector"
    resources = frozenset({"pods"})

    def __init__(self, reader: Reader, selectors: Mapping[str, Mapping[str, str]] | None = None) -> None:
        """`selectors` are those of the plugin's file: by namespace what its pods may ask for, and CLUSTER_DEFAULT."""
        self._reader = reader
        self._allowed = selectors or {}
        self._cluster_default = self._allowed.get(CLUSTER_DEFAULT, {})

    async def admit(self, request: AdmissionRequest) -> Pod:
        pod = request.new(Pod)
        namespace = await self._reader.get(_NamespaceAnnotations, request.namespace)
        text = namespace.metadata.annotations.get(_ANNOTATION)
        wanted = self._cluster_default if text is None else parsed(text)
        if not wanted:
            return pod
        theirs = pod.spec.node_selector
        if any(theirs.get(key, value) != value for key, value in wanted.items()):
            raise request.forbidden("pod node label selector conflicts with its namespace node label selector")
        return replace(pod, spec=replace(pod.spec, node_selector={**wanted, **theirs}))

    async def validate(self, request: AdmissionRequest) -> None:
        allowed = self._allowed.get(request.namespace)
        if allowed and not request.new(Pod).spec.node_selector.items() <= allowed.items():
            raise request.forbidden("pod node label selector labels conflict with its namespace whitelist")


def parsed(text: str) -> dict[str, str]:
    """The labels of a selector as the annotation and the plugin's file have it: `env=test,disk=ssd`."""
    pairs = (part.partition("=") for part in text.split(",") if part.strip())
    return {key.strip(): value.strip() for key, _, value in pairs}
