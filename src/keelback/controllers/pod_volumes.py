"""Which claims a pod uses."""

from __future__ import annotations

from keelback.controllers.observed import PodView


def claims_of(pod: PodView) -> tuple[str, ...]:
    """The names of the claims a pod uses, those of its ephemeral volumes included."""
    named = [one.persistent_volume_claim.claim_name for one in pod.spec.volumes if one.persistent_volume_claim]
    made = [f"{pod.metadata.name}-{one.name}" for one in pod.spec.volumes if one.ephemeral is not None]
    return (*named, *made)
