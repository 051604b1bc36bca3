"""Who waits for whose end: pods that preempted others, until the last of their victims is gone."""

from __future__ import annotations

from collections.abc import Iterable


class AwaitedVictims:
    """By uid. The room that a victim leaves is promised: its going is no news for those that wait for other victims."""

    def __init__(self) -> None:
        self._victims: dict[str, set[str]] = {}
        self._preemptors: dict[str, str] = {}

    def __contains__(self, preemptor: object) -> bool:
        """Whether the pod waits for victims of its own."""
        return preemptor in self._victims

    def add(self, preemptor: str, victims: Iterable[str]) -> None:
        """The pod waits for these from now on, and for no others."""
        self.forget(preemptor)
        # A victim that two pods preempt, one after the other, is awaited by the latter.
        waited_for = self._victims[preemptor] = set(victims)
        for victim in waited_for:
            earlier = self._preemptors.get(victim)
            if earlier is not None:
                self._discard(earlier, victim)
            self._preemptors[victim] = preemptor

    def forget(self, preemptor: str) -> None:
        """The pod waits no longer: it has a node, or is gone."""
        for victim in self._victims.pop(preemptor, ()):
            del self._preemptors[victim]

    def gone(self, victim: str) -> tuple[bool, str]:
        """Whether the pod that is gone was a victim; and who waited for it as the last one, empty for nobody."""
        preemptor = self._preemptors.pop(victim, None)
        if preemptor is None:
            return False, ""
        return True, preemptor if self._discard(preemptor, victim) else ""

    def _discard(self, preemptor: str, victim: str) -> bool:
        left = self._victims[preemptor]
        left.discard(victim)
        if left:
            return False
        del self._victims[preemptor]
        return True
