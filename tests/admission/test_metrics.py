"""How long plugins and phases take, under upstream's names."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from keelback.admission.metrics import AdmissionMetrics
from keelback.admission.plugin import AdmissionChain, AdmissionPlugin, AdmissionRequest, Operation
from keelback.api.core_v1 import ConfigMap
from keelback.apimachinery import errors
from keelback.apimachinery.meta import ObjectMeta
from keelback.component.metrics import Registry


class _Joe:
    name = "joe"
    uid = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, tuple[str, ...]] = {}


class _Both(AdmissionPlugin):
    name = "Both"

    async def admit(self, request: AdmissionRequest) -> Any:
        return request.obj

    async def validate(self, request: AdmissionRequest) -> None:
        if request.name == "bad":
            raise request.forbidden("it is bad")


class _Idle(AdmissionPlugin):
    name = "Idle"
    resources = frozenset({"pods"})

    async def validate(self, request: AdmissionRequest) -> None:
        raise AssertionError("no pod is asked about")


def _request(name: str) -> AdmissionRequest:
    return AdmissionRequest(
        operation=Operation.CREATE,
        kind=ConfigMap.__kind__,
        user=_Joe(),
        name=name,
        obj=ConfigMap(metadata=ObjectMeta(name=name)),
    )


def test_phases_and_plugins_are_timed_apart_from_refusals() -> None:
    metrics = Registry()
    chain = AdmissionChain([_Idle(), _Both()], AdmissionMetrics(metrics))

    async def ask(name: str) -> None:
        await chain.validate(await chain.admit(_request(name)))

    asyncio.run(ask("good"))
    with pytest.raises(errors.Forbidden):
        asyncio.run(ask("bad"))
    counted = {line for line in metrics.exposition().decode().splitlines() if "_count{" in line}
    step = "apiserver_admission_step_admission_duration_seconds"
    plugin = "apiserver_admission_controller_admission_duration_seconds_count"
    phases = (
        ('type="admit",operation="CREATE",rejected="false"', 2),
        ('type="validate",operation="CREATE",rejected="false"', 1),
        ('type="validate",operation="CREATE",rejected="true"', 1),
    )
    assert counted == {
        line
        for labels, count in phases
        for line in (
            f"{step}_count{{{labels}}} {count}",
            f"{step}_summary_count{{{labels}}} {count}",
            f'{plugin}{{name="Both",{labels}}} {count}',
        )
    }
