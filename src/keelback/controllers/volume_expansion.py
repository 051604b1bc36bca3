"""The persistentvolume-expander controller: tells whoever waits for a larger volume that a driver makes it.

All volumes that can grow do so by a CSI driver's resizer; none is grown from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from keelback.api.core_v1 import PersistentVolume, PersistentVolumeClaim
from keelback.apimachinery import quantity
from keelback.client import Change
from keelback.reconcile.context import Context
from keelback.reconcile.result import DONE, Result

MESSAGE = "waiting for an external controller to expand this PVC"


def wants_more(claim: PersistentVolumeClaim) -> bool:
    """Whether a bound claim asks for more than it has."""
    if claim.status.phase != "Bound" or not claim.spec.volume_name:
        return False
    return _wanted(claim) > quantity.parse(claim.status.capacity.get("storage", "0"))


@dataclass(frozen=True, slots=True)
class ExpandReconciler:
    """Looks at claims whose request grew."""

    context: Context
    name: ClassVar = "persistentvolume-expander-controller"
    role: ClassVar = "expand-controller"
    component: ClassVar = "volume_expand"
    kind: ClassVar = PersistentVolumeClaim
    owns: ClassVar = ()
    reads: ClassVar = (PersistentVolume,)

    def is_relevant(self, change: Change[Any]) -> bool:
        old, new = change.old, change.new
        if new is None or not wants_more(new):
            return False
        return old is None or _wanted(new) > _wanted(old)

    async def reconcile(self, claim: PersistentVolumeClaim) -> Result:
        volume = self.context.caches.store(PersistentVolume).get("", claim.spec.volume_name)
        if volume is None or not wants_more(claim):
            return DONE
        reference = volume.spec.claim_ref
        if reference is None or reference.uid != claim.metadata.uid:
            return DONE
        # Of other volumes than CSI ones no one is known who could.
        type = "Normal" if volume.spec.csi is not None else "Warning"
        await self.context.events.event(claim, type, "ExternalExpanding", MESSAGE)
        return DONE


def _wanted(claim: PersistentVolumeClaim) -> quantity.Quantity:
    return quantity.parse(claim.spec.resources.requests.get("storage", "0"))
