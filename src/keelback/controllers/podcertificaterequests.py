"""The podcertificaterequest-cleaner: a request is for one start of one pod, and nobody looks at it a quarter later."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from keelback.api.certificates_v1beta1 import PodCertificateRequest
from keelback.reconcile.context import Context
from keelback.reconcile.result import DONE, Result, again_after

KEEP = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class PodCertificateRequestCleaner:
    """Deletes requests, answered or not, a quarter of an hour after they were made."""

    context: Context
    name: ClassVar = "podcertificaterequest-cleaner-controller"
    role: ClassVar = "podcertificaterequestcleaner"
    component: ClassVar = "podcertificaterequestcleaner"
    kind: ClassVar = PodCertificateRequest
    owns: ClassVar = ()

    async def reconcile(self, request: PodCertificateRequest) -> Result:
        metadata = request.metadata
        if metadata.creation_timestamp is None:
            return DONE
        left = (metadata.creation_timestamp + KEEP - self.context.now()).total_seconds()
        if left > 0:
            return again_after(left)
        await self.context.client.delete(PodCertificateRequest, metadata.name, metadata.namespace, uid=metadata.uid)
        return DONE
