"""Regular expressions that users write, as Go's regexp package reads them: in linear time, whatever the pattern.

They run on RE2, the engine Go's is a port of; Python's own would stall the server on a pattern such as `(a+)+$`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Protocol, cast

_LONGEST_SHOWN = 1000
# RE2's complaints in Go's words, where they differ (regexp/syntax, ErrorCode).
_GO_WORDS = {
    "missing ]": "missing closing ]",
    "missing )": "missing closing )",
    "trailing \\": "trailing backslash at end of expression",
    "no argument for repetition operator": "missing argument to repetition operator",
    "invalid repetition size": "invalid repeat count",
    "bad repetition operator": "invalid nested repetition operator",
    "invalid perl operator": "invalid or unsupported Perl syntax",
    "invalid named capture group": "invalid named capture",
    "pattern too large - compile failed": "expression too large",
}
_ANY_BYTE = re.compile(r"(?<!\\)(?:\\\\)*(\\C)")
"""RE2's `\\C`, which Go does not have."""


class Match(Protocol):
    """Where an expression matches."""

    def span(self) -> tuple[int, int]:
        """Its first character, and the one behind its last."""
        ...


class Pattern(Protocol):
    """A compiled expression."""

    def search(self, text: str, pos: int = 0) -> Match | None:
        """The leftmost match at or behind a position, if there is any; `^` still means the beginning of the text."""
        ...


class RegexpError(ValueError):
    """Not an expression of Go's syntax; the message is the one of Go's `regexp.Compile`."""


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> Pattern:
    """The expression, ready to use. Raises RegexpError."""
    any_byte = _ANY_BYTE.search(pattern)
    if any_byte is not None:
        raise RegexpError(_message("invalid escape sequence", any_byte[1]))
    # 2.5 MB, and many a cluster has no pattern.
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        return cast("Pattern", re2.compile(pattern, options))
    except re2.error as error:
        raw = error.args[0]
        problem, _, part = (raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)).partition(": ")
    except UnicodeEncodeError:
        problem, part = "invalid UTF-8", pattern.encode("utf-8", "replace").decode()
    if part in ("(?<!", "(?<="):
        # Go takes these for the beginning of a named group.
        rest = pattern[pattern.index(part) :]
        raise RegexpError(_message("invalid named capture", rest[: rest.find(">") + 1] or rest))
    raise RegexpError(_message(_GO_WORDS.get(problem, problem), part))


def _message(problem: str, part: str) -> str:
    return f"error parsing regexp: {problem}: `{part[:_LONGEST_SHOWN]}`"
