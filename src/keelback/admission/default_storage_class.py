"""DefaultStorageClass: a claim that names no storage class gets the default one, if there is one."""

from __future__ import annotations

from keelback.admission.newest import newest
from keelback.admission.plugin import AdmissionPlugin, AdmissionRequest, Reader
from keelback.api.core_v1 import PersistentVolumeClaim
from keelback.api.storage_v1 import StorageClass
from keelback.apimachinery.meta import replace

_DEFAULT_ANNOTATIONS = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)
_BETA_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"


class DefaultStorageClass(AdmissionPlugin):
    """Fills in the class. An empty class is a choice too, and stays."""

    name = "DefaultStorageClass"
    resources = frozenset({"persistentvolumeclaims"})

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def admit(self, request: AdmissionRequest) -> PersistentVolumeClaim:
        claim = request.new(PersistentVolumeClaim)
        if claim.spec.storage_class_name is not None or _BETA_CLASS_ANNOTATION in claim.metadata.annotations:
            return claim
        default = newest(one for one in await self._reader.list(StorageClass) if _is_default(one))
        if default is None:
            return claim
        return replace(claim, spec=replace(claim.spec, storage_class_name=default.metadata.name))


def _is_default(storage_class: StorageClass) -> bool:
    annotations = storage_class.metadata.annotations
    return any(annotations.get(key) == "true" for key in _DEFAULT_ANNOTATIONS)
