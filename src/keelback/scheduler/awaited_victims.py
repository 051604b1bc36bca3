"""Who waits for whose end: pods that preempted others, until the last of their victims is gone."""

from __future__ import annotations

from collections.abc import Iterable


class AwaitedVictims:
    """By uid. The room that a victim leaves is promised: its going is no news for those that wait for other victims."""

    def __init__(self) -> None:
        self._victims: dict[str, set[str]] = {}
        self._preemptors: dict[str, dict[str, None]] = {}
        """In the order in which they came to wait."""

    def __contains__(self, preemptor: object) -> bool:
        """Whether the pod waits for victims of its own."""
        return preemptor in self._victims

    def add(self, preemptor: str, victims: Iterable[str]) -> None:
        """The pod waits for these from now on, and for no others. Several may wait for the same victim."""
        self.forget(preemptor)
        waited_for = self._victims[preemptor] = set(victims)
        for victim in waited_for:
            self._preemptors.setdefault(victim, {})[preemptor] = None

    def forget(self, preemptor: str) -> None:
        """The pod waits no longer: it has a node, or is gone."""
        for victim in self._victims.pop(preemptor, ()):
            waiting = self._preemptors[victim]
            del waiting[preemptor]
            if not waiting:
                del self._preemptors[victim]

    def gone(self, victim: str) -> tuple[bool, tuple[str, ...]]:
        """Whether the pod that is gone was a victim; and who waited for it as the last one."""
        waiting = self._preemptors.pop(victim, {})
        for preemptor in waiting:
            self._victims[preemptor].discard(victim)
        served = tuple(preemptor for preemptor in waiting if not self._victims[preemptor])
        for preemptor in served:
            del self._victims[preemptor]
        return bool(waiting), served
