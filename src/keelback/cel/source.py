"""The text of an expression, and what was found wrong with it: offsets become lines, columns and snippets."""

from __future__ import annotations

from bisect import bisect_right

from keelback.cel.errors import Issue

MOST_ISSUES = 100


class Source:
    """One text, while it is compiled."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._lines = text.split("\n")
        self._starts = [0]
        for line in self._lines[:-1]:
            self._starts.append(self._starts[-1] + len(line) + 1)
        self._issues: list[Issue] = []
        self._count = 0

    def report(self, message: str, position: int | None) -> None:
        """Something is wrong, at an offset, or nowhere in particular."""
        self._count += 1
        if self._count > MOST_ISSUES:
            return
        if position is None:
            self._issues.append(Issue(message, -1, -1))
            return
        line = bisect_right(self._starts, position)
        self._issues.append(Issue(message, line, position - self._starts[line - 1], self._lines[line - 1]))

    @property
    def has_issues(self) -> bool:
        """Whether anything was reported."""
        return self._count > 0

    def issues(self) -> tuple[Issue, ...]:
        """What was reported, in the order of the text (cel-go, common/errors.go)."""
        found = sorted(self._issues, key=lambda issue: (issue.line, issue.column))
        if self._count > MOST_ISSUES:
            found.append(Issue(f"{self._count - MOST_ISSUES} more errors were truncated", 0, 0))
        return tuple(found)
