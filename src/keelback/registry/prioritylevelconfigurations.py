"""PriorityLevelConfigurations."""

from __future__ import annotations

from typing import Any

from keelback.api.flowcontrol_v1 import (
    LimitedPriorityLevelConfiguration,
    PriorityLevelConfiguration,
    QueuingConfiguration,
)
from keelback.apimachinery.meta import replace
from keelback.registry.cells import NONE
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import text


def _queuing(attribute: str) -> Any:
    def value(level: PriorityLevelConfiguration) -> str:
        limited = level.spec.limited
        queuing = limited.limit_response.queuing if limited is not None else None
        return NONE if queuing is None else str(getattr(queuing, attribute))

    return value


def _shares(level: PriorityLevelConfiguration) -> str:
    part: Any = level.spec.limited or level.spec.exempt
    shares = part.nominal_concurrency_shares if part is not None else None
    return NONE if shares is None else str(shares)


class PriorityLevelConfigurationStrategy(Strategy[PriorityLevelConfiguration]):
    kind = PriorityLevelConfiguration
    subresources = ("status",)
    columns = (
        text("Type", lambda one: one.spec.type),
        text("NominalConcurrencyShares", _shares),
        text("Queues", _queuing("queues")),
        text("HandSize", _queuing("hand_size")),
        text("QueueLengthLimit", _queuing("queue_length_limit")),
        AGE,
    )

    def default(
        self, new: PriorityLevelConfiguration, old: PriorityLevelConfiguration | None = None
    ) -> PriorityLevelConfiguration:
        spec = new.spec
        if spec.limited is not None:
            return replace(new, spec=replace(spec, limited=_with_defaults(spec.limited)))
        if spec.exempt is not None:
            exempt = replace(
                spec.exempt,
                lendable_percent=spec.exempt.lendable_percent or 0,
                nominal_concurrency_shares=spec.exempt.nominal_concurrency_shares or 0,
            )
            return replace(new, spec=replace(spec, exempt=exempt))
        return new


def _with_defaults(limited: LimitedPriorityLevelConfiguration) -> LimitedPriorityLevelConfiguration:
    shares = limited.nominal_concurrency_shares
    response = limited.limit_response
    if response.queuing is not None:
        given = response.queuing
        queuing = QueuingConfiguration(
            hand_size=given.hand_size or 8,
            queue_length_limit=given.queue_length_limit or 50,
            queues=given.queues or 64,
        )
        response = replace(response, queuing=queuing)
    return replace(
        limited,
        lendable_percent=limited.lendable_percent or 0,
        nominal_concurrency_shares=30 if shares is None else shares,
        limit_response=response,
    )
