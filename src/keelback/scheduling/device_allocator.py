"""Looks for devices that satisfy all claims of a pod on one node: the first solution in the order of what is offered.

An exhaustive search, as upstream's, that spares itself what cannot make a difference: another order of the devices of
one request, and a device just like one that was tried in vain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from keelback.api.resource_v1 import DeviceTaint
from keelback.apimachinery.quantity import Quantity
from keelback.scheduling import consumable_capacity, device_selectors, devices
from keelback.scheduling.device_constraints import Constraint
from keelback.scheduling.device_pools import Match, PoolView
from keelback.scheduling.device_requests import MOST_DEVICES, Alternative, ClaimRequests
from keelback.scheduling.device_selectors import SelectorError
from keelback.scheduling.device_usage import DeviceUsage
from keelback.scheduling.devices import CounterKey, Device, DeviceId, PoolId

_STEPS_BETWEEN_LOOKS: Final = 256


class SelectorFailed(Exception):
    """A selector has no answer for a device that would have been looked at: nothing can be said of the claim."""

    def __init__(self, claim: int, alternative: Alternative, selector: int, problem: SelectorError) -> None:
        super().__init__(str(problem))
        self._claim = claim
        self._alternative = alternative
        self._selector = selector

    def told(self, claims: Sequence[str]) -> str:
        """Upstream's text, given what the claims are called."""
        return f"{self._alternative.where(self._selector, claims[self._claim])}: {self}"


class NotOnNode(Exception):
    """There is a particular reason why the claims cannot be allocated here, with which the node is refused."""

    def __init__(self, claim: int, text: str) -> None:
        super().__init__(text)
        self._claim = claim

    def told(self, claims: Sequence[str]) -> str:
        """Upstream's text, given what the claims are called."""
        return f"claim {claims[self._claim]}, {self}" if self._claim >= 0 else str(self)


class TookTooLong(Exception):
    """The search was given up."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """One device of an allocation."""

    device: Device
    alternative: Alternative
    consumed: Mapping[str, Quantity]
    """Of a shared device what is taken of each capacity."""


Solution = Sequence[Sequence[Chosen]]
"""For each claim its devices, in the order of its requests."""


def allocate(
    claims: Sequence[ClaimRequests],
    pools: Sequence[PoolView],
    usage: DeviceUsage,
    is_over: Callable[[], bool] = lambda: False,
) -> Solution | None:
    """Devices for all claims out of these pools, in this order; None where there are too few.

    `is_over` says, from time to time, whether time is up. Raises SelectorFailed, NotOnNode, TookTooLong.
    """
    search = _Search(claims, pools, usage, is_over)
    if search.claim(0):
        return search.chosen
    if any(view.invalid for view in pools):
        raise NotOnNode(-1, "invalid resource pools were encountered")
    return None


def points(claims: Sequence[ClaimRequests], solution: Solution) -> int:
    """How good the taken alternatives of prioritized lists are: each counts once."""
    return sum(sum({one.alternative: one.alternative.points for one in chosen}.values()) for chosen in solution)


def matches(view: PoolView, alternative: Alternative) -> Sequence[Match]:
    """Which of a pool's devices the selectors of a request pick; in the place of an answer, why there is none."""
    return picked(view, alternative.selectors)


def picked(view: PoolView, selectors: tuple[str, ...]) -> Sequence[Match]:
    """As `matches`, given the selectors."""
    found = view.matches.get(selectors)
    if found is None:
        found = view.matches[selectors] = tuple(_match(device, selectors) for device in view.devices)
    return found


class _Failure(SelectorError):
    def __init__(self, selector: int, problem: SelectorError) -> None:
        super().__init__(str(problem))
        self.selector = selector


def _match(device: Device, selectors: Iterable[str]) -> Match:
    for number, expression in enumerate(selectors):
        try:
            # What is wrong with the expression comes before what is wrong with the device.
            device_selectors.compiled(expression)
        except SelectorError as error:
            return _Failure(number, SelectorError(f"CEL compile error: {error}"))
        try:
            if isinstance(device.described, SelectorError):
                raise device.described
            if not device_selectors.chooses(expression, device.described):
                return False
        except SelectorError as error:
            return _Failure(number, SelectorError(f"CEL runtime error: {error}"))
    return True


class _Search:
    """One search: what is chosen so far, and what that takes."""

    def __init__(
        self,
        claims: Sequence[ClaimRequests],
        pools: Sequence[PoolView],
        usage: DeviceUsage,
        is_over: Callable[[], bool],
    ) -> None:
        self._claims = claims
        self._usage = usage
        self._is_over = is_over
        self._steps = 0
        self._pools = [view for view in pools if view.is_usable]
        self._blocked = next((view for view in pools if not view.is_usable), None)
        self.chosen: list[list[Chosen]] = [[] for _ in claims]
        self._constraints = [[Constraint(one) for one in claim.constraints] for claim in claims]
        self._seen: set[tuple[int, DeviceId]] = set()
        """The devices chosen so far, but for those that are shared: no claim has one twice."""
        self._held: set[DeviceId] = set()
        """Those among them that nobody else can have."""
        self._consumed: dict[DeviceId, dict[str, int]] = {}
        self._begun: dict[DeviceId, int] = {}
        """How many parts of each shared device have been chosen."""
        self._counters: dict[PoolId, dict[CounterKey, int]] = {}
        """What is left of each pool's counters, as far as a device was chosen that takes of them."""
        self._took_counters: list[bool] = []
        """Of each device chosen, in order, whether it took of the counters."""
        self._view_of = {view.pool: view for view in self._pools}
        self._candidates: dict[tuple[int, Alternative], list[tuple[Device, Match]]] = {}

    def claim(self, claim: int) -> bool:
        """Satisfy this claim and those after it."""
        if claim == len(self._claims):
            return True
        if claim == 0:
            # All devices of a request that wants all are those that match before anything is taken.
            for number, one in enumerate(self._claims):
                for request in one.requests:
                    for alternative in request.alternatives:
                        if alternative.takes_all:
                            self._all_of(number, alternative)
        return self._request(claim, 0)

    def _request(self, claim: int, request: int) -> bool:
        requests = self._claims[claim].requests
        if request == len(requests):
            return self.claim(claim + 1)
        for alternative in requests[request].alternatives:
            if alternative.takes_all:
                wanted = self._all_of(claim, alternative)
                if wanted and self._fits(claim, len(wanted)) and self._each(claim, request, alternative, wanted, 0):
                    return True
            elif self._fits(claim, alternative.count) and self._some(claim, request, alternative, alternative.count, 0):
                return True
        return False

    def _fits(self, claim: int, more: int) -> bool:
        return len(self.chosen[claim]) + more <= MOST_DEVICES

    def _some(self, claim: int, request: int, alternative: Alternative, left: int, start: int) -> bool:
        """Choose so many devices, none before `start`: their order within a request makes no difference."""
        if not left:
            return self._request(claim, request + 1)
        candidates = self._matching(claim, alternative)
        in_vain = set()
        for place in range(start, len(candidates)):
            device, match = candidates[place]
            if isinstance(match, _Failure):
                raise SelectorFailed(claim, alternative, match.selector, match)
            if device.twin in in_vain:
                continue
            if not self._take(claim, alternative, device):
                continue
            # A part of a shared device leaves the rest of it to be taken.
            if self._some(claim, request, alternative, left - 1, place if device.is_shared else place + 1):
                return True
            self._give_back(claim, device)
            if not device.is_shared and not alternative.is_admin:
                in_vain.add(device.twin)
        return False

    def _each(self, claim: int, request: int, alternative: Alternative, wanted: Sequence[Device], place: int) -> bool:
        """Choose all of these devices."""
        if place == len(wanted):
            return self._request(claim, request + 1)
        if not self._take(claim, alternative, wanted[place], must=True):
            return False
        if self._each(claim, request, alternative, wanted, place + 1):
            return True
        self._give_back(claim, wanted[place])
        return False

    def _all_of(self, claim: int, alternative: Alternative) -> list[Device]:
        """All devices that match, and that have what is asked for."""
        if self._blocked is not None:
            state = "being updated" if self._blocked.is_incomplete else "invalid"
            text = f"asks for all devices, but resource pool {self._blocked} is currently {state}"
            raise NotOnNode(claim, f"request {alternative.name.rpartition('/')[2]}: {text}")
        found = []
        for device, match in self._matching(claim, alternative):
            if isinstance(match, _Failure):
                raise SelectorFailed(claim, alternative, match.selector, match)
            consumed = consumable_capacity.consumed(device.capacity, alternative.capacity)
            if consumed is not None and _within(device, consumed, self._usage.consumed(device.id), {}):
                found.append(device)
        return found

    def _matching(self, claim: int, alternative: Alternative) -> list[tuple[Device, Match]]:
        key = claim, alternative
        found = self._candidates.get(key)
        if found is None:
            found = self._candidates[key] = [
                (device, match)
                for view in self._pools
                for device, match in zip(view.devices, matches(view, alternative), strict=True)
                if match is not False
            ]
        return found

    def _take(self, claim: int, alternative: Alternative, device: Device, *, must: bool = False) -> bool:
        """Choose a device, if it can be had; `must` where nothing can replace it."""
        self._steps += 1
        if self._steps % _STEPS_BETWEEN_LOOKS == 0 and self._is_over():
            raise TookTooLong
        if self._is_in_use(claim, alternative, device):
            return False
        if any(not _is_tolerated(alternative, taint) for taint in device.taints):
            return False
        mine = self._consumed.get(device.id, {})
        consumed = consumable_capacity.consumed(device.capacity, alternative.capacity)
        if consumed is None or not _within(device, consumed, self._usage.consumed(device.id), mine):
            return False
        # The first part of a shared device takes its counters, and the last one gives them back.
        takes_counters = bool(device.consumes) and not alternative.is_admin and not self._is_begun(device)
        if takes_counters and not self._has_counters(device):
            return False
        for number, constraint in enumerate(self._constraints[claim]):
            if not constraint.add(alternative.name, device):
                for earlier in self._constraints[claim][:number]:
                    earlier.remove(alternative.name, device)
                if must:
                    name = alternative.name.rpartition("/")[2]
                    text = f"cannot add device {'/'.join(device.id)} because a claim constraint would not be satisfied"
                    raise NotOnNode(claim, f"request {name}: {text}")
                return False
        self._note(claim, alternative, device, consumed, takes_counters)
        return True

    def _note(
        self,
        claim: int,
        alternative: Alternative,
        device: Device,
        consumed: Mapping[str, Quantity],
        takes_counters: bool,
    ) -> None:
        if device.is_shared:
            mine = self._consumed.setdefault(device.id, {})
            for name, amount in consumed.items():
                mine[name] = mine.get(name, 0) + amount.nanos
            self._begun[device.id] = self._begun.get(device.id, 0) + (not alternative.is_admin)
        else:
            self._seen.add((claim, device.id))
            if not alternative.is_admin:
                self._held.add(device.id)
        if takes_counters:
            left = self._counters[device.pool]
            for key, amount_nanos in device.consumes.items():
                left[key] -= amount_nanos
        self.chosen[claim].append(Chosen(device, alternative, consumed if device.is_shared else {}))
        self._took_counters.append(takes_counters)

    def _give_back(self, claim: int, device: Device) -> None:
        last = self.chosen[claim].pop()
        if device.is_shared:
            mine = self._consumed[device.id]
            for name, amount in last.consumed.items():
                mine[name] -= amount.nanos
            self._begun[device.id] -= not last.alternative.is_admin
        else:
            self._seen.remove((claim, device.id))
            if not last.alternative.is_admin:
                self._held.remove(device.id)
        if self._took_counters.pop():
            left = self._counters[device.pool]
            for key, amount_nanos in device.consumes.items():
                left[key] += amount_nanos
        for constraint in self._constraints[claim]:
            constraint.remove(last.alternative.name, device)

    def _is_in_use(self, claim: int, alternative: Alternative, device: Device) -> bool:
        if (claim, device.id) in self._seen:
            return True
        if alternative.is_admin:
            # Administrators look at devices that others use.
            return False
        if self._usage.is_held(device.id) or device.id in self._held:
            return True
        return not device.is_shared and self._usage.is_shared(device.id)

    def _is_begun(self, device: Device) -> bool:
        return device.is_shared and (self._usage.is_shared(device.id) or self._begun.get(device.id, 0) > 0)

    def _has_counters(self, device: Device) -> bool:
        left = self._counters.get(device.pool)
        if left is None:
            left = self._counters[device.pool] = self._usage.available(self._view_of[device.pool])
        return all(left[key] >= amount for key, amount in device.consumes.items())


def _within(
    device: Device, consumed: Mapping[str, Quantity], taken: Mapping[str, int], chosen: Mapping[str, int]
) -> bool:
    """Whether that much is left of each capacity."""
    return all(
        taken.get(name, 0) + chosen.get(name, 0) + amount.nanos <= device.capacity[name].value.nanos
        for name, amount in consumed.items()
    )


def _is_tolerated(alternative: Alternative, taint: DeviceTaint) -> bool:
    return any(devices.tolerates(one, taint) for one in alternative.tolerations)
