"""PersistentVolumeClaimResize: only bound claims grow, and only where their storage class says that they can."""

from __future__ import annotations

from keelback.admission.plugin import AdmissionPlugin, AdmissionRequest, Operation, Reader
from keelback.api.core_v1 import PersistentVolumeClaim
from keelback.api.storage_v1 import StorageClass
from keelback.apimachinery import errors, quantity


class PersistentVolumeClaimResize(AdmissionPlugin):
    """Refuses growth that nothing would carry out."""

    name = "PersistentVolumeClaimResize"
    resources = frozenset({"persistentvolumeclaims"})
    operations = frozenset({Operation.UPDATE})

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def validate(self, request: AdmissionRequest) -> None:
        new, old = request.new(PersistentVolumeClaim), request.old(PersistentVolumeClaim)
        if quantity.compare(_size(new), _size(old)) <= 0:
            return
        if old.status.phase != "Bound":
            raise request.forbidden("Only bound persistent volume claims can be expanded")
        if not await self._is_expandable(old):
            raise request.forbidden(
                "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must"
                " support resize"
            )

    async def _is_expandable(self, claim: PersistentVolumeClaim) -> bool:
        name = claim.metadata.annotations.get("volume.beta.kubernetes.io/storage-class", claim.spec.storage_class_name)
        if not name:
            return False
        try:
            storage_class = await self._reader.get(StorageClass, name)
        except errors.NotFound:
            return False
        return bool(storage_class.allow_volume_expansion)


def _size(claim: PersistentVolumeClaim) -> str:
    return claim.spec.resources.requests.get("storage", "0")
