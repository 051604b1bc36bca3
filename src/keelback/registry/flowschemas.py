"""FlowSchemas."""

from __future__ import annotations

from collections.abc import Iterator

from keelback.api import conditions
from keelback.api.flowcontrol_v1 import FlowSchema
from keelback.apimachinery.errors import FieldError, invalid, required
from keelback.apimachinery.meta import replace
from keelback.registry.cells import NONE
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import number, text


def _missing(schema: FlowSchema) -> str:
    dangling = conditions.find(schema.status.conditions, "Dangling")
    return "?" if dangling is None else dangling.status


class FlowSchemaStrategy(Strategy[FlowSchema]):
    kind = FlowSchema
    subresources = ("status",)
    columns = (
        text("PriorityLevel", lambda one: one.spec.priority_level_configuration.name),
        number("MatchingPrecedence", lambda one: one.spec.matching_precedence),
        text(
            "DistinguisherMethod",
            lambda one: NONE if one.spec.distinguisher_method is None else one.spec.distinguisher_method.type,
        ),
        AGE,
        text("MissingPL", _missing),
    )

    def default(self, new: FlowSchema, old: FlowSchema | None = None) -> FlowSchema:
        return new if new.spec.matching_precedence else replace(new, spec=replace(new.spec, matching_precedence=1000))

    def validate(self, new: FlowSchema) -> Iterator[FieldError]:
        spec = new.spec
        if not 1 <= spec.matching_precedence <= 10000:
            yield invalid(
                "spec.matchingPrecedence", spec.matching_precedence, "must be a value between 1 and 10000, inclusive"
            )
        if not spec.priority_level_configuration.name:
            yield required("spec.priorityLevelConfiguration.name", "must reference a priority level")
