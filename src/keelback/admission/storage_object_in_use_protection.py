"""StorageObjectInUseProtection: claims and volumes get the finalizer that keeps them while they are in use."""

from __future__ import annotations

from collections.abc import Mapping

from keelback.admission.plugin import AdmissionPlugin, AdmissionRequest
from keelback.apimachinery.meta import Object, with_metadata

_FINALIZERS: Mapping[str, str] = {
    "persistentvolumes": "kubernetes.io/pv-protection",
    "persistentvolumeclaims": "kubernetes.io/pvc-protection",
    "volumeattributesclasses": "kubernetes.io/vac-protection",
}


class StorageObjectInUseProtection(AdmissionPlugin):
    """Adds the finalizer; controllers remove it when nothing uses the object."""

    name = "StorageObjectInUseProtection"
    resources = frozenset({"persistentvolumes", "persistentvolumeclaims", "storage.k8s.io/volumeattributesclasses"})

    async def admit(self, request: AdmissionRequest) -> Object:
        obj = request.new(Object)
        finalizer = _FINALIZERS[request.kind.plural]
        if finalizer in obj.metadata.finalizers:
            return obj
        return with_metadata(obj, finalizers=(*obj.metadata.finalizers, finalizer))
