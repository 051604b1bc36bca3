"""How fast an autoscaler may go: stabilisation windows, and policies of how much may change in how long. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from keelback.api.autoscaling_v2 import HorizontalPodAutoscalerBehavior, HPAScalingPolicy, HPAScalingRules

WITHIN: Final = ("DesiredWithinRange", "the desired count is within the acceptable range")
_TOO_MANY: Final = ("TooManyReplicas", "the desired replica count is more than the maximum replica count")
_TOO_FEW: Final = ("TooFewReplicas", "the desired replica count is less than the minimum replica count")
_UP_LIMIT: Final = ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate")
_DOWN_LIMIT: Final = ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate")
_READY: Final = ("ReadyForNewScale", "recommended size matches current size")
_UP_STABLE: Final = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
)
_DOWN_STABLE: Final = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
)
_MANY: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Moment:
    """A recommendation, or a change that was made, and when."""

    at: datetime
    count: int


@dataclass(frozen=True, slots=True)
class History:
    """What an autoscaler remembers. It is lost at a restart, as upstream's is: the present size is remembered first."""

    recommendations: tuple[Moment, ...] = ()
    ups: tuple[Moment, ...] = ()
    downs: tuple[Moment, ...] = ()

    def begun(self, current: int, now: datetime) -> History:
        """With the present size as the first recommendation, where there is none yet."""
        return self if self.recommendations else replace(self, recommendations=(Moment(now, current),))

    def rescaled(
        self, before: int, after: int, now: datetime, behavior: HorizontalPodAutoscalerBehavior | None
    ) -> History:
        """With a change that was made; only behaviours ask for these."""
        if behavior is None:
            return replace(self, ups=(), downs=())
        if after > before:
            kept = _since(self.ups, now, _longest_period(behavior.scale_up))
            return replace(self, ups=(*kept, Moment(now, after - before)))
        kept = _since(self.downs, now, _longest_period(behavior.scale_down))
        return replace(self, downs=(*kept, Moment(now, before - after)))


@dataclass(frozen=True, slots=True)
class Range:
    """Between how many and how many replicas, and how many there are."""

    current: int
    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Normalized:
    """The size to have, and the reasons and messages of the conditions AbleToScale and ScalingLimited."""

    replicas: int
    able: tuple[str, str]
    limited: tuple[str, str]
    is_limited: bool
    history: History


def normalized(
    wanted: int,
    sizes: Range,
    behavior: HorizontalPodAutoscalerBehavior | None,
    history: History,
    now: datetime,
    downscale_stabilization: timedelta,
) -> Normalized:
    """What becomes of a size that the metrics want."""
    if behavior is None:
        stable, able, kept = _stabilized_down(wanted, history, now, downscale_stabilization)
        replicas, limited = _limited(stable, sizes)
    else:
        stable, able, kept = _stabilized(wanted, sizes.current, behavior, history, now, downscale_stabilization)
        replicas, limited = _rated(stable, sizes, behavior, history, now)
    recommendations = (*kept, Moment(now, wanted))
    return Normalized(
        replicas,
        _READY if stable == wanted else able,
        limited,
        replicas != stable,
        replace(history, recommendations=recommendations),
    )


def _stabilized_down(
    wanted: int, history: History, now: datetime, window: timedelta
) -> tuple[int, tuple[str, str], tuple[Moment, ...]]:
    kept = tuple(one for one in history.recommendations if one.at >= now - window)
    return max([wanted, *(one.count for one in kept)]), _DOWN_STABLE, kept


def _limited(wanted: int, sizes: Range) -> tuple[int, tuple[str, str]]:
    """Without behaviours: at most twice as many at once, or four."""
    if wanted < sizes.least:
        return sizes.least, _TOO_FEW
    limit = max(2 * sizes.current, 4)
    most, reason = (limit, _UP_LIMIT) if sizes.most > limit else (sizes.most, _TOO_MANY)
    return (most, reason) if wanted > most else (wanted, WITHIN)


def _stabilized(
    wanted: int,
    current: int,
    behavior: HorizontalPodAutoscalerBehavior,
    history: History,
    now: datetime,
    downscale_stabilization: timedelta,
) -> tuple[int, tuple[str, str], tuple[Moment, ...]]:
    up_window, down_window = (
        _window(behavior.scale_up, timedelta(0)),
        _window(behavior.scale_down, downscale_stabilization),
    )
    known = history.recommendations
    lowest = min([wanted, *(one.count for one in known if one.at > now - up_window)])
    highest = max([wanted, *(one.count for one in known if one.at > now - down_window)])
    # Up to what all have wanted of late, down to what any has.
    stable = min(max(current, lowest), highest)
    kept = tuple(one for one in known if one.at >= now - max(up_window, down_window))
    return stable, _UP_STABLE if wanted >= current else _DOWN_STABLE, kept


def _rated(
    wanted: int, sizes: Range, behavior: HorizontalPodAutoscalerBehavior, history: History, now: datetime
) -> tuple[int, tuple[str, str]]:
    if wanted > sizes.current:
        limit = max(_up_limit(sizes.current, behavior.scale_up, history, now), sizes.current)
        most, reason = (limit, _UP_LIMIT) if sizes.most > limit else (sizes.most, _TOO_MANY)
        return (most, reason) if wanted > most else (wanted, WITHIN)
    if wanted < sizes.current:
        limit = min(_down_limit(sizes.current, behavior.scale_down, history, now), sizes.current)
        least, reason = (limit, _DOWN_LIMIT) if sizes.least < limit else (sizes.least, _TOO_FEW)
        return (least, reason) if wanted < least else (wanted, WITHIN)
    return wanted, WITHIN


def _up_limit(current: int, rules: HPAScalingRules | None, history: History, now: datetime) -> int:
    if rules is None or not rules.policies:
        return _MANY
    if rules.select_policy == "Disabled":
        return current
    limits = []
    for policy in rules.policies:
        start = _at_period_start(current, policy, history, now)
        if policy.type == "Pods":
            limits.append(start + policy.value)
        else:
            # In whole hundredths: 1.1 times ten must not be eleven and a bit.
            limits.append(-(-start * (100 + policy.value) // 100))
    return min(limits) if rules.select_policy == "Min" else max(limits)


def _down_limit(current: int, rules: HPAScalingRules | None, history: History, now: datetime) -> int:
    if rules is None or not rules.policies:
        return -_MANY
    if rules.select_policy == "Disabled":
        return current
    limits = []
    for policy in rules.policies:
        start = _at_period_start(current, policy, history, now)
        if policy.type == "Pods":
            limits.append(start - policy.value)
        else:
            limits.append(math.trunc(start * (100 - policy.value) / 100))
    return max(limits) if rules.select_policy == "Min" else min(limits)


def _at_period_start(current: int, policy: HPAScalingPolicy, history: History, now: datetime) -> int:
    """How many there were when the policy's period began, by the changes that this autoscaler has made since."""
    return (
        current
        - sum(one.count for one in _since(history.ups, now, policy.period_seconds))
        + sum(one.count for one in _since(history.downs, now, policy.period_seconds))
    )


def _since(moments: Sequence[Moment], now: datetime, seconds: float) -> tuple[Moment, ...]:
    return tuple(one for one in moments if one.at > now - timedelta(seconds=seconds))


def _window(rules: HPAScalingRules | None, default: timedelta) -> timedelta:
    if rules is None or rules.stabilization_window_seconds is None:
        return default
    return timedelta(seconds=rules.stabilization_window_seconds)


def _longest_period(rules: HPAScalingRules | None) -> float:
    return max((one.period_seconds for one in rules.policies), default=0) if rules is not None else 0
