"""What may go wrong with an expression: it does not compile, or its evaluation fails. Messages are cel-go's."""

from __future__ import annotations

from dataclasses import dataclass

from typing_extensions import override


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing wrong with an expression. `line` counts from one, `column` (in characters) from zero.

    Line -1 is nowhere in particular; with line 0 the message stands alone.
    """

    message: str
    line: int
    column: int
    snippet: str = ""

    def __str__(self) -> str:
        """With the line it stands in, and a caret below: three lines of text."""
        if not self.line:
            return self.message
        text = f"ERROR: <input>:{self.line}:{self.column + 1}: {self.message}"
        if self.line < 0:
            return text
        snippet = self.snippet.replace("\t", " ")
        before = "".join(_mark(character, ".", _WIDE_DOT) for character in snippet[: self.column])
        caret = _mark(snippet[self.column : self.column + 1], "^", _WIDE_CARET)
        return f"{text}\n | {snippet}\n | {before}{caret}"


_WIDE_DOT, _WIDE_CARET = "\uff0e", "\uff3e"


def _mark(character: str, narrow: str, wide: str) -> str:
    """cel-go takes all that is not ASCII for wide."""
    return wide if character > "\x7f" else narrow


class CompileError(ValueError):
    """The text is no expression, or its types do not agree. `str()` is cel-go's text, one paragraph for each issue."""

    def __init__(self, issues: tuple[Issue, ...]) -> None:
        super().__init__(issues)
        self.issues = issues

    @override
    def __str__(self) -> str:
        return "\n".join(map(str, self.issues))


class ResultTypeError(CompileError):
    """The expression is well formed, but of another type than is asked for: `must evaluate to bool`."""


class EvaluationError(Exception):
    """An error value of the language: `||`, `&&` and `?:` may absorb it. `message` is cel-go's: `divide by zero`."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class CostLimitExceeded(EvaluationError):
    """The evaluation did more than it may; nothing absorbs this."""

    def __init__(self, message: str = "operation cancelled: actual cost limit exceeded") -> None:
        super().__init__(message)


NO_SUCH_OVERLOAD = "no such overload"


def no_such_overload() -> EvaluationError:
    """A function was given values that none of its overloads takes."""
    return EvaluationError(NO_SUCH_OVERLOAD)


class TakesLongError(Exception):
    """An evaluation went on for longer than its patience. Nothing is wrong with it: no error of the language."""
