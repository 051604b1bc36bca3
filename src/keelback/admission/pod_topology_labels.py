"""PodTopologyLabels: the zone and region of its node become labels of a pod when it is bound."""

from __future__ import annotations

from keelback.admission.plugin import AdmissionPlugin, AdmissionRequest, Reader
from keelback.api.core_v1 import Binding, Node
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Object, narrow, with_metadata

LABELS = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")


@narrow(Node)
class _NodeLabels(Object):
    """A node, of which only the labels are of interest."""


class PodTopologyLabels(AdmissionPlugin):
    """Writes them on the Binding; storing the binding carries them to the pod."""

    name = "PodTopologyLabels"
    resources = frozenset({"pods/binding", "bindings"})

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def admit(self, request: AdmissionRequest) -> Binding:
        binding = request.new(Binding)
        if binding.target.kind not in ("", "Node"):
            return binding
        try:
            node = await self._reader.get(_NodeLabels, binding.target.name)
        except errors.NotFound:
            return binding
        known = {key: node.metadata.labels[key] for key in LABELS if key in node.metadata.labels}
        if not known:
            return binding
        return with_metadata(binding, labels={**binding.metadata.labels, **known})
