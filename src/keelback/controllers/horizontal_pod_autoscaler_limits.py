"""How fast an autoscaler may go: stabilisation windows, and policies of how much may change in how long. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from keelback.api import autoscaling_v2 as v2

WITHIN: Final = ("DesiredWithinRange", "the desired count is within the acceptable range")
_READY: Final = ("ReadyForNewScale", "recommended size matches current size")
_UNLIMITED: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class _Way:
    """Upwards or downwards, each the other in a mirror: its sign, and a condition's reason and message for what is in
    the way (what was recommended of late, the rate, the autoscaler's own bound).
    """

    sign: int
    stabilized: tuple[str, str]
    too_fast: tuple[str, str]
    too_far: tuple[str, str]


_UP: Final = _Way(
    1,
    (
        "ScaleUpStabilized",
        "recent recommendations were lower than current one, applying the lowest recent recommendation",
    ),
    ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate"),
    ("TooManyReplicas", "the desired replica count is more than the maximum replica count"),
)
_DOWN: Final = _Way(
    -1,
    (
        "ScaleDownStabilized",
        "recent recommendations were higher than current one, applying the highest recent recommendation",
    ),
    ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate"),
    ("TooFewReplicas", "the desired replica count is less than the minimum replica count"),
)


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

    def rescaled(self, before: int, after: int, now: datetime, spec: v2.HorizontalPodAutoscalerSpec) -> History:
        """With a change that was made; only behaviours ask for these."""
        if spec.behavior is None:
            return replace(self, ups=(), downs=())
        if after > before:
            return replace(self, ups=_remembered(self.ups, Moment(now, after - before), spec.behavior.scale_up))
        return replace(self, downs=_remembered(self.downs, Moment(now, before - after), spec.behavior.scale_down))


@dataclass(frozen=True, slots=True)
class Normalized:
    """The size to have, and the reasons and messages of the conditions AbleToScale and ScalingLimited: `WITHIN`, or by
    what it is limited."""

    replicas: int
    able: tuple[str, str]
    limited: tuple[str, str]
    history: History


def normalized(
    wanted: int, current: int, spec: v2.HorizontalPodAutoscalerSpec, history: History, now: datetime, window: timedelta
) -> Normalized:
    """What becomes of a size that the metrics want; `window` is for going down where the autoscaler names none."""
    known, behavior = history.recommendations, spec.behavior
    if behavior is None:
        way = _DOWN
        stable = max([wanted, *(one.count for one in known if one.at >= now - window)])
        replicas, limited = _doubled_at_most(stable, current, spec)
    else:
        up, down = _window(behavior.scale_up, timedelta(0)), _window(behavior.scale_down, window)
        window, way = max(up, down), _UP if wanted >= current else _DOWN
        # Up to what all have wanted of late, down to what any has.
        lowest = min([wanted, *(one.count for one in known if one.at > now - up)])
        highest = max([wanted, *(one.count for one in known if one.at > now - down)])
        stable = min(max(current, lowest), highest)
        to, rules, bound = _DOWN, behavior.scale_down, spec.min_replicas
        if stable > current:
            to, rules, bound = _UP, behavior.scale_up, spec.max_replicas
        # What was done the other way of late may put the limit behind where it is now.
        ahead = max(to.sign * current, to.sign * _limit(current, rules, to, history, now))
        replicas, limited = _held(stable, to.sign * ahead, bound, to)
    able = _READY if stable == wanted else way.stabilized
    kept = (*(one for one in known if one.at >= now - window), Moment(now, wanted))
    return Normalized(replicas, able, limited, replace(history, recommendations=kept))


def _window(rules: v2.HPAScalingRules | None, default: timedelta) -> timedelta:
    if rules is None or rules.stabilization_window_seconds is None:
        return default
    return timedelta(seconds=rules.stabilization_window_seconds)


def _doubled_at_most(wanted: int, current: int, spec: v2.HorizontalPodAutoscalerSpec) -> tuple[int, tuple[str, str]]:
    """Without behaviours: at most twice as many at once, or four."""
    if wanted < spec.min_replicas:
        return spec.min_replicas, _DOWN.too_far
    return _held(wanted, max(2 * current, 4), spec.max_replicas, _UP)


def _held(wanted: int, limit: int, bound: int, way: _Way) -> tuple[int, tuple[str, str]]:
    """The size as far as the rate's limit and the autoscaler's bound let it go, and which of them stopped it."""
    furthest, reason = (limit, way.too_fast) if way.sign * (bound - limit) > 0 else (bound, way.too_far)
    return (furthest, reason) if way.sign * (wanted - furthest) > 0 else (wanted, WITHIN)


def _limit(current: int, rules: v2.HPAScalingRules | None, way: _Way, history: History, now: datetime) -> int:
    """How many there may be at most, or at least, by the policies."""
    if rules is None or not rules.policies:
        return way.sign * _UNLIMITED
    if rules.select_policy == "Disabled":
        return current
    limits = [_allowed(_at_period_start(current, one, history, now), one, way) for one in rules.policies]
    return (min if rules.select_policy == "Min" else max)(limits, key=lambda limit: way.sign * limit)


def _allowed(start: int, policy: v2.HPAScalingPolicy, way: _Way) -> int:
    if policy.type == "Pods":
        return start + way.sign * policy.value
    # In whole hundredths, for 1.1 times ten must not be eleven and a bit; what is left over is in favour of the change.
    hundredths = start * (100 + way.sign * policy.value)
    return -(-hundredths // 100) if way is _UP else hundredths // 100


def _at_period_start(current: int, policy: v2.HPAScalingPolicy, history: History, now: datetime) -> int:
    """How many there were when the policy's period began, by the changes that this autoscaler has made since."""
    made, taken = (_since(moments, now, policy.period_seconds) for moments in (history.ups, history.downs))
    return current - sum(one.count for one in made) + sum(one.count for one in taken)


def _remembered(changes: Sequence[Moment], new: Moment, rules: v2.HPAScalingRules | None) -> tuple[Moment, ...]:
    """The changes with a new one, as far back as some policy asks for them."""
    longest = max((one.period_seconds for one in (rules.policies if rules is not None else ())), default=0)
    return (*_since(changes, new.at, longest), new)


def _since(moments: Sequence[Moment], now: datetime, seconds: float) -> tuple[Moment, ...]:
    return tuple(one for one in moments if one.at > now - timedelta(seconds=seconds))
