from __future__ import annotations

from keelback.apimachinery import field_set, scale_ownership
from keelback.apimachinery.managed_fields import APPLY, UPDATE, Managed, Managers

SPEC = {"f:spec": {"f:replicas": {}, "f:paused": {}}}
REPLICAS = field_set.of(("spec", "replicas"))


def managers(*entries: Managed) -> Managers:
    return {entry.id: entry for entry in entries}


APPLIER = Managed("applier", APPLY, "apps/v1", SPEC, "2026-11-23T10:00:00Z")
OTHER = Managed("other", UPDATE, "apps/v1", {"f:status": {}}, "2026-11-23T10:00:00Z", "status")


def test_a_scale_shows_who_owns_the_replicas() -> None:
    (seen,) = scale_ownership.to_scale(managers(APPLIER, OTHER)).values()
    assert (seen.manager, seen.api_version, seen.fields) == ("applier", "autoscaling/v1", REPLICAS)


def test_who_scales_takes_the_replicas_from_their_owner() -> None:
    parent = managers(APPLIER, OTHER)
    scaler = Managed("scaler", UPDATE, "autoscaling/v1", REPLICAS, "2026-11-23T11:00:00Z", "scale")
    after = scale_ownership.to_parent(parent, managers(scaler), "apps/v1")
    assert {one.manager: one.fields for one in after.values()} == {
        "applier": {"f:spec": {"f:paused": {}}},
        "other": {"f:status": {}},
        "scaler": REPLICAS,
    }
    gained = next(one for one in after.values() if one.manager == "scaler")
    assert (gained.api_version, gained.time, gained.subresource) == ("apps/v1", "", "scale")


def test_a_scale_that_changes_no_owner_changes_nothing() -> None:
    parent = managers(APPLIER, OTHER)
    assert scale_ownership.to_parent(parent, scale_ownership.to_scale(parent), "apps/v1") == parent
