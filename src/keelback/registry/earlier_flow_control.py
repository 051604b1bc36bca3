"""Flow control's objects in the versions before v1, which servers of 1.28 to 1.31 have by default."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from keelback.api import flowcontrol_v1
from keelback.api.flowcontrol_v1beta2 import PriorityLevelConfiguration, level_from_v1, level_to_v1
from keelback.apimachinery import codecs
from keelback.apimachinery.errors import FieldError
from keelback.registry.flowschemas import FlowSchemaStrategy
from keelback.registry.other_versions import in_version
from keelback.registry.prioritylevelconfigurations import PriorityLevelConfigurationStrategy
from keelback.registry.strategy import Column, Strategy

_DEPRECATED = {
    "v1beta2": "deprecated in v1.26+, unavailable in v1.29+; use flowcontrol.apiserver.k8s.io/v1beta3",
    "v1beta3": "deprecated in v1.29+, unavailable in v1.32+; use flowcontrol.apiserver.k8s.io/v1",
}


def strategies(version: str) -> Iterator[Strategy[Any]]:
    """The strategies of v1beta2 or v1beta3."""
    yield _deprecated(in_version(FlowSchemaStrategy, version))
    if version == "v1beta2":
        yield _deprecated(PriorityLevelConfigurationV1beta2Strategy())
    else:
        yield _deprecated(in_version(PriorityLevelConfigurationStrategy, version))


def _deprecated(strategy: Strategy[Any]) -> Strategy[Any]:
    kind = strategy.kind.__kind__
    text = f"{kind.api_version} {kind.kind} is {_DEPRECATED[kind.version]} {kind.kind}"
    made: type[Strategy[Any]] = type(type(strategy).__name__, (type(strategy),), {"deprecation_warning": text})
    return made()


def _of_stored(column: Column) -> Column:
    """A column of the stored version, of objects of this version."""
    return Column(
        column.name,
        lambda one, now: column.value(level_to_v1(one), now),
        type=column.type,
        priority=column.priority,
        description=column.description,
        format=column.format,
    )


class PriorityLevelConfigurationV1beta2Strategy(Strategy[PriorityLevelConfiguration]):
    kind = PriorityLevelConfiguration
    storage_kind = flowcontrol_v1.PriorityLevelConfiguration
    subresources = ("status",)
    columns = tuple(map(_of_stored, PriorityLevelConfigurationStrategy.columns))
    _stored = PriorityLevelConfigurationStrategy()

    def from_storage(self, data: bytes) -> bytes:
        return codecs.encode_stored(level_from_v1(self._stored.decode(data)))

    def to_storage(self, data: bytes) -> bytes:
        return codecs.encode_stored(level_to_v1(self.decode(data)))

    def default(
        self, new: PriorityLevelConfiguration, old: PriorityLevelConfiguration | None = None
    ) -> PriorityLevelConfiguration:
        return level_from_v1(self._stored.default(level_to_v1(new)))

    def validate(self, new: PriorityLevelConfiguration) -> Iterator[FieldError]:
        return self._stored.validate(level_to_v1(new))

    def validate_update(self, new: PriorityLevelConfiguration, old: PriorityLevelConfiguration) -> Iterator[FieldError]:
        return self._stored.validate_update(level_to_v1(new), level_to_v1(old))
