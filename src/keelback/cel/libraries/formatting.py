"""`string.format` of cel-go's `strings` extension, as its versions 1 to 3 print: numbers the way en-US writes them.

`%s %d %f %e %b %x %X %o`, and a precision for `%f`. Upstream's quirk is kept: the precision of `%e` is its width.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

from keelback.apimachinery.go_text import go_quoted
from keelback.cel.conversions import text_of, type_name
from keelback.cel.errors import EvaluationError
from keelback.cel.types import Type
from keelback.cel.values import Duration, Timestamp, Value

_CLAUSE = re.compile(r"%(%|(?:\.(?P<precision>[0-9]*))?(?P<verb>.)?)", re.DOTALL)
_DEFAULT_PRECISION = 6
_LARGEST_PRECISION = 9_999_999
"""Go stops reading digits there; texts of gigabytes help nobody."""
_SUPERSCRIPTS = str.maketrans("0123456789-", "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b")
_SPECIAL = ("NaN", "Infinity", "-Infinity")
_STRING_TYPES = "strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps"

COMPLAINTS = {
    "s": f"string clause can only be used on {_STRING_TYPES}",
    "d": "decimal clause can only be used on integers",
    "f": "fixed-point clause can only be used on doubles",
    "e": "scientific clause can only be used on doubles",
    "b": "only integers and bools can be formatted as binary",
    "x": "only integers, byte buffers, and strings can be formatted as hex",
    "X": "only integers, byte buffers, and strings can be formatted as hex",
    "o": "octal clause can only be used on integers",
}
"""What each verb takes."""


def formatted(template: str, arguments: Sequence[Value]) -> str:
    """The template with its clauses replaced by the arguments, one after the other. Raises EvaluationError."""
    used = 0

    def replaced(match: re.Match[str]) -> str:
        nonlocal used
        if match[0] == "%%":
            return "%"
        if used >= len(arguments):
            raise EvaluationError(f"index {used} out of range")
        argument = arguments[used]
        used += 1
        verb, precision = clause(match)
        try:
            return _VERBS[verb](argument, precision)
        except _WrongTypeError as error:
            raise EvaluationError(f"error during formatting: {error}") from None

    return _CLAUSE.sub(replaced, template)


def clauses(template: str) -> list[re.Match[str]]:
    """The clauses of a template that take an argument."""
    return [match for match in _CLAUSE.finditer(template) if match[0] != "%%"]


def clause(match: re.Match[str]) -> tuple[str, int | None]:
    """The verb and the precision of a clause. Raises EvaluationError."""
    if match.end() == match.start() + 1:
        raise EvaluationError("unexpected end of string")
    precision, verb = match["precision"], match["verb"]
    complaint = "could not parse formatting clause: "
    if verb is None:
        raise EvaluationError(complaint + "error while parsing precision: could not find end of precision specifier")
    if precision is None:
        number = None
    elif 0 < len(precision) < 19:
        number = int(precision)
        if number > _LARGEST_PRECISION:
            raise EvaluationError(f"{complaint}precision {number} is too large")
    else:
        problem = "value out of range" if precision else "invalid syntax"
        problem = f"strconv.Atoi: parsing {go_quoted(precision)}: {problem}"
        raise EvaluationError(
            f"{complaint}error while parsing precision: error while converting precision to integer: {problem}"
        )
    if verb not in _VERBS:
        # Upstream reads bytes, and shows the first of a longer character.
        shown = chr(verb.encode("utf-8", "replace")[0])
        raise EvaluationError(f'{complaint}unrecognized formatting clause "{shown}"')
    return verb, number


class _WrongTypeError(ValueError):
    pass


def _wrong(verb: str, value: Value) -> _WrongTypeError:
    return _WrongTypeError(f"{COMPLAINTS[verb]}, was given {type_name(value)}")


def _string(value: Value, _precision: int | None) -> str:
    if value is None:
        return "null"
    match value:
        case list():
            return _listed(value)
        case dict():
            return _mapped(value)
        case bool() | int() | float() | str() | bytes() | Timestamp() | Duration() | Type():
            return text_of(value)
        case _:
            raise _wrong("s", value)


def _listed(value: list[Value]) -> str:
    return f"[{', '.join(map(_literal, value))}]"


def _mapped(value: dict[Value, Value]) -> str:
    for key in value:
        if not isinstance(key, str | int):
            raise _WrongTypeError(f"no formatting function for map key of type {type_name(key)}")
    pairs = sorted(((_literal(key), _literal(element)) for key, element in value.items()), key=lambda pair: pair[0])
    return "{" + ", ".join(f"{key}:{element}" for key, element in pairs) + "}"


def _literal(value: Value) -> str:
    """A value inside a list or map: as the language writes it."""
    match value:
        case str():
            return go_quoted(value)
        case bytes():
            return f"b{go_quoted(text_of(value))}"
        case float():
            return f"{value:.{_DEFAULT_PRECISION}f}" if math.isfinite(value) else go_quoted(_go_special(value))
        case Timestamp():
            return f"timestamp({go_quoted(text_of(value))})"
        case Duration():
            return f"duration({go_quoted(text_of(value))})"
        case None | bool() | int() | list() | dict() | Type():
            return _string(value, None)
        case _:
            raise _WrongTypeError(f"no formatting function for {type_name(value)}")


def _go_special(value: float) -> str:
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def _is_integer(value: Value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _decimal(value: Value, _precision: int | None) -> str:
    if not _is_integer(value):
        raise _wrong("d", value)
    return str(int(value))


def _float(verb: str, value: Value) -> float:
    if isinstance(value, float):
        return value
    if value in _SPECIAL and isinstance(value, str):
        return float(value)
    raise _wrong(verb, value)


def _localized_special(number: float) -> str:
    return "NaN" if math.isnan(number) else "\u221e" if number > 0 else "-\u221e"


def _fixed(value: Value, precision: int | None) -> str:
    number = _float("f", value)
    if not math.isfinite(number):
        return _localized_special(number)
    return f"{number:,.{_DEFAULT_PRECISION if precision is None else precision}f}"


def _scientific(value: Value, precision: int | None) -> str:
    number = _float("e", value)
    width = _DEFAULT_PRECISION if precision is None else precision
    if not math.isfinite(number):
        return _localized_special(number).rjust(width)
    mantissa, _, exponent = f"{number:.{_DEFAULT_PRECISION}e}".partition("e")
    power = exponent.removeprefix("+").translate(_SUPERSCRIPTS)
    return f"{mantissa}\u202f\u00d7\u202f10{power}".rjust(width)


def _binary(value: Value, _precision: int | None) -> str:
    if isinstance(value, bool | int):
        return f"{int(value):b}"
    raise _wrong("b", value)


def _octal(value: Value, _precision: int | None) -> str:
    if not _is_integer(value):
        raise _wrong("o", value)
    return f"{int(value):o}"


def _hexadecimal(verb: str) -> Callable[[Value, int | None], str]:
    def shown(value: Value, _precision: int | None) -> str:
        match value:
            case str():
                text = value.encode("utf-8", "replace").hex()
            case bytes():
                text = value.hex()
            case int() if _is_integer(value):
                text = f"{int(value):x}"
            case _:
                raise _wrong(verb, value)
        return text.upper() if verb == "X" else text

    return shown


_VERBS: dict[str, Callable[[Value, int | None], str]] = {
    "s": _string,
    "d": _decimal,
    "f": _fixed,
    "e": _scientific,
    "b": _binary,
    "x": _hexadecimal("x"),
    "X": _hexadecimal("X"),
    "o": _octal,
}
