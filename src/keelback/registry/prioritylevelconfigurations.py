"""PriorityLevelConfigurations."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from keelback.api.flowcontrol_v1 import (
    LimitedPriorityLevelConfiguration,
    PriorityLevelConfiguration,
    PriorityLevelConfigurationSpec,
    QueuingConfiguration,
)
from keelback.apimachinery.errors import FieldError, forbidden, invalid, not_supported, required
from keelback.apimachinery.meta import replace
from keelback.registry import bootstrap_flow_control
from keelback.registry.cells import NONE
from keelback.registry.flowschemas import validate_conditions
from keelback.registry.internal_forms import internal
from keelback.registry.strategy import AGE, Column, Strategy
from keelback.registry.workloads import text

_WHOLE_PERCENT: Final = 100
_MOST_QUEUES: Final = 10_000_000
_HASH_BITS: Final = 60


def _queuing(attribute: str) -> Any:
    def value(level: PriorityLevelConfiguration, _now: datetime) -> str | int:
        limited = level.spec.limited
        queuing = limited.limit_response.queuing if limited is not None else None
        if queuing is None:
            return NONE
        found: int = getattr(queuing, attribute)
        return found

    return value


def _shares(level: PriorityLevelConfiguration, _now: datetime) -> str | int:
    limited = level.spec.limited
    shares = limited.nominal_concurrency_shares if limited is not None else None
    return NONE if shares is None else int(shares)


class PriorityLevelConfigurationStrategy(Strategy[PriorityLevelConfiguration]):
    kind = PriorityLevelConfiguration
    keeps_metadata_in_status = True
    checks_metadata_twice = False
    checks_metadata_as_new = True
    subresources = ("status",)
    columns = (
        text("Type", lambda one: one.spec.type),
        Column("NominalConcurrencyShares", _shares),
        Column("Queues", _queuing("queues")),
        Column("HandSize", _queuing("hand_size")),
        Column("QueueLengthLimit", _queuing("queue_length_limit")),
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

    def validate(self, new: PriorityLevelConfiguration) -> Iterator[FieldError]:
        spec, name = new.spec, new.metadata.name
        if (name == "exempt") != (spec.type == "Exempt"):
            yield invalid("spec.type", spec.type, "must be 'Exempt' if and only if `name` is 'exempt'")
        yield from _by_type(spec)
        mandatory = bootstrap_flow_control.mandatory_level(name)
        # What the exempt level lends may be chosen.
        if mandatory is not None and replace(spec, exempt=mandatory.spec.exempt) != mandatory.spec:
            words = " except the 'spec.exempt' field" if name == "exempt" else ""
            yield invalid("spec", internal(spec), f"spec of '{name}'{words} must equal the fixed value")
        yield from validate_conditions(new.status.conditions)

    def validate_status_update(
        self, new: PriorityLevelConfiguration, old: PriorityLevelConfiguration
    ) -> Iterator[FieldError]:
        yield from validate_conditions(new.status.conditions)


def _by_type(spec: PriorityLevelConfigurationSpec) -> Iterator[FieldError]:
    match spec.type:
        case "Exempt":
            if spec.limited is not None:
                yield forbidden("spec.limited", "must be nil if the type is not Limited")
            if spec.exempt is not None:
                shares, path = spec.exempt.nominal_concurrency_shares, "spec.exempt"
                if shares is not None and shares < 0:
                    yield invalid(f"{path}.nominalConcurrencyShares", shares, "must be a non-negative integer")
                yield from _lendable(spec.exempt.lendable_percent, path)
        case "Limited":
            if spec.exempt is not None:
                yield forbidden("spec.exempt", "must be nil if the type is Limited")
            if spec.limited is None:
                yield required("spec.limited", "must not be empty when type is Limited")
            else:
                yield from _limited(spec.limited, "spec.limited")
        case _:
            yield not_supported("spec.type", spec.type, ("Exempt", "Limited"))


def _limited(limited: LimitedPriorityLevelConfiguration, path: str) -> Iterator[FieldError]:
    shares, lent, borrowed = (
        limited.nominal_concurrency_shares,
        limited.lendable_percent,
        limited.borrowing_limit_percent,
    )
    if shares is not None and shares < 0:
        yield invalid(f"{path}.nominalConcurrencyShares", shares, "must be a non-negative integer")
    response = limited.limit_response
    queuing_path = f"{path}.limitResponse.queuing"
    match response.type:
        case "Reject":
            if response.queuing is not None:
                yield forbidden(queuing_path, "must be nil if limited.limitResponse.type is not Limited")
        case "Queue":
            if response.queuing is None:
                yield required(queuing_path, "must not be empty if limited.limitResponse.type is Limited")
            else:
                yield from _queues(response.queuing, queuing_path)
        case _:
            yield not_supported(f"{path}.limitResponse.type", response.type, ("Queue", "Reject"))
    yield from _lendable(lent, path)
    if borrowed is not None and borrowed < 0:
        yield invalid(f"{path}.borrowingLimitPercent", borrowed, "if specified, must be a non-negative integer")


def _lendable(percent: int | None, path: str) -> Iterator[FieldError]:
    if percent is not None and not 0 <= percent <= _WHOLE_PERCENT:
        yield invalid(f"{path}.lendablePercent", percent, "must be between 0 and 100, inclusive")


def _queues(queuing: QueuingConfiguration, path: str) -> Iterator[FieldError]:
    if queuing.queue_length_limit <= 0:
        yield invalid(f"{path}.queueLengthLimit", queuing.queue_length_limit, "must be positive")
    if queuing.queues <= 0:
        yield invalid(f"{path}.queues", queuing.queues, "must be positive")
    elif queuing.queues > _MOST_QUEUES:
        yield invalid(f"{path}.queues", queuing.queues, f"must not be greater than {_MOST_QUEUES}")
    if queuing.hand_size <= 0:
        yield invalid(f"{path}.handSize", queuing.hand_size, "must be positive")
    elif queuing.hand_size > queuing.queues:
        yield invalid(f"{path}.handSize", queuing.hand_size, f"should not be greater than queues ({queuing.queues})")
    elif _entropy_bits(queuing.queues, queuing.hand_size) > _HASH_BITS:
        deal = f"deckSize {queuing.queues} and handSize {queuing.hand_size}"
        why = f"required entropy bits of {deal} should not be greater than {_HASH_BITS}"
        yield invalid(f"{path}.handSize", queuing.hand_size, why)


def _entropy_bits(queues: int, hand: int) -> int:
    """How many bits of a hash it takes to deal a hand (upstream's shufflesharding.RequiredEntropyBits)."""
    return math.ceil(math.log2(queues) * hand)


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
