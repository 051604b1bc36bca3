"""How often a refused update says what is wrong with the metadata: as often as upstream's layers look at it."""

from __future__ import annotations

from typing import Any

from keelback.testing.requests import Ask, with_server

CORE = "/api/v1/namespaces/default"
POLICY = "/apis/policy/v1/namespaces/default"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"


async def causes(ask: Ask, path: str, tree: dict[str, Any]) -> list[str]:
    status, made = await ask("POST", path, {**tree, "metadata": {"name": "a"}})
    assert status == 201
    made["metadata"] |= {"labels": {"a": "b c"}, "finalizers": ["bare"]}
    status, told = await ask("PUT", f"{path}/a", made)
    assert status == 422
    return [f"{one['reason']} {one['field']}" for one in told["details"]["causes"]]


LABEL = "FieldValueInvalid metadata.labels"
FINALIZER = "FieldValueInvalid metadata.finalizers[0]"


@with_server
async def test_every_layer_of_validation_repeats_what_it_sees(ask: Ask) -> None:
    config_map = {"apiVersion": "v1", "kind": "ConfigMap"}
    assert await causes(ask, f"{CORE}/configmaps", config_map) == [LABEL, LABEL, FINALIZER, LABEL, FINALIZER]
    quota = {"apiVersion": "v1", "kind": "ResourceQuota"}
    assert await causes(ask, f"{CORE}/resourcequotas", quota) == [LABEL, LABEL, FINALIZER]
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
    assert await causes(ask, LEASES, lease) == [LABEL, LABEL]
    budget = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget"}
    assert await causes(ask, f"{POLICY}/poddisruptionbudgets", budget) == [LABEL]
