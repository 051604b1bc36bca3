"""How long those who are turned away should stay away: longer, the more are."""

from __future__ import annotations

from collections import deque

_LONGEST = 32


class RetryAfter:
    """Seconds for the Retry-After header of a priority level: doubled while many are turned away, else less by one."""

    def __init__(self) -> None:
        self.seconds = 1
        self._second = 0
        self._count = 0
        self._history: deque[tuple[int, int]] = deque()
        self._raised = 0

    def turned_away(self, now: float) -> int:
        """Count one, and say how long that one should wait."""
        second = int(now)
        if second == self._second:
            self._count += 1
            return self.seconds
        self._history.append((self._second, self._count))
        while self._second - self._history[0][0] > _LONGEST:
            self._history.popleft()
        self._second, self._count = second, 1
        self._judge(second)
        return self.seconds

    def _judge(self, second: int) -> None:
        recent = sum(count for then, count in self._history if second - then <= self.seconds)
        if second - self._raised >= self.seconds and recent >= 3 * self.seconds:
            self.seconds = min(_LONGEST, self.seconds * 2)
            self._raised = second
        elif recent < self.seconds and self.seconds > 1:
            self.seconds -= 1
