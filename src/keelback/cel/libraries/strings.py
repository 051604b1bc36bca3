"""cel-go's `strings` extension, version 2: the one Kubernetes enables since 1.29. Positions count characters.

Version 2 has `format` and `strings.quote`, and no `reverse` yet.
"""

from __future__ import annotations

from collections.abc import Sequence

from keelback.apimachinery.go_text import go_printed
from keelback.cel.declarations import CallEstimate, Library, Operand, function, member, overload
from keelback.cel.errors import EvaluationError
from keelback.cel.estimates import MAXIMUM, NOTHING, Estimate, exactly
from keelback.cel.libraries import costs, format_checks
from keelback.cel.libraries.formatting import formatted
from keelback.cel.types import DYN_LIST, INT, STRING, list_of
from keelback.cel.values import Value

_STRINGS = list_of(STRING)
# Go's unicode.IsSpace: Python's strip() takes the separators 0x1c to 0x1f too.
_SPACES = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_UPPER = {code: code - 32 for code in range(ord("a"), ord("z") + 1)}
_QUOTED = str.maketrans(
    {
        "\a": "\\a",
        "\b": "\\b",
        "\f": "\\f",
        "\n": "\\n",
        "\r": "\\r",
        "\t": "\\t",
        "\v": "\\v",
        "\\": "\\\\",
        '"': '\\"',
    }
)


def _out_of_range(index: int) -> EvaluationError:
    return EvaluationError(f"index out of range: {index}")


def _char_at(text: str, index: int) -> str:
    if not 0 <= index <= len(text):
        raise _out_of_range(index)
    return text[index : index + 1]


def _index_of(text: str, part: str, offset: int = 0) -> int:
    if not part:
        return offset
    if offset < 0:
        raise _out_of_range(offset)
    return text.find(part, offset)


def _last_index_of(text: str, part: str, offset: int | None = None) -> int:
    if offset is None:
        offset = len(text) - 1 if part else len(text)
    if not part:
        return offset
    if offset < 0:
        raise _out_of_range(offset)
    return text.rfind(part, 0, offset + len(part)) if offset < len(text) else -1


def _lower(text: str) -> str:
    return text.translate(_LOWER)


def _upper(text: str) -> str:
    return text.translate(_UPPER)


def _replace(text: str, old: str, new: str, limit: int = -1) -> str:
    return text.replace(old, new, max(limit, -1))


def _split(text: str, separator: str, limit: int = -1) -> list[str]:
    if limit == 0:
        return []
    if not separator:
        if limit < 0 or limit >= len(text):
            return list(text)
        return [*text[: limit - 1], text[limit - 1 :]]
    return text.split(separator, limit - 1 if limit > 0 else -1)


def _substring(text: str, start: int, end: int | None = None) -> str:
    length = len(text)
    if end is not None and start > end:
        raise EvaluationError(f"invalid substring range. start: {start}, end: {end}")
    for index in (start, length if end is None else end):
        if not 0 <= index <= length:
            raise _out_of_range(index)
    return text[start:end]


def _trim(text: str) -> str:
    return text.strip(_SPACES)


def _join(texts: list[Value], separator: str = "") -> str:
    for text in texts:
        if not isinstance(text, str):
            raise EvaluationError(f"join: invalid input: {go_printed(text)}")
    return separator.join(texts)


def _quote(text: str) -> str:
    return f'"{text.encode("utf-8", "replace").decode().translate(_QUOTED)}"'


def _join_runtime(_arguments: Sequence[Value], result: Value) -> int:
    return costs.traversal(len(result), 2 * costs.STRING_TRAVERSAL)


def _join_static(operands: Sequence[Operand]) -> CallEstimate:
    target = operands[0]
    length = target.size.by(target.element_size)
    if len(operands) > 1:
        separators = Estimate(max(target.size.least - 1, 0), max(target.size.most - 1, 0))
        length = length.plus(operands[1].size.by(separators))
    return CallEstimate(length.scaled(costs.STRING_TRAVERSAL), length)


def _split_static(operands: Sequence[Operand]) -> CallEstimate:
    length = operands[0].size
    # At worst the separator is empty, and each character becomes an element.
    most = length.most
    if len(operands) > 2:
        limit = costs.literal(operands[2])
        if isinstance(limit, int):
            most = limit % (MAXIMUM + 1)
    return CallEstimate(length.scaled(2 * costs.STRING_TRAVERSAL), Estimate(0, most))


def _replace_static(operands: Sequence[Operand]) -> CallEstimate:
    """How large a text becomes is guessed from the smallest and largest that is replaced, and what by."""
    length, old, new = operands[0].size, operands[1].size, operands[2].size
    times, kept = NOTHING, NOTHING
    if old.least == 0:
        # Before, between and after all characters.
        times, kept = times._replace(most=min(length.most + 1, MAXIMUM)), kept._replace(most=length.most)
    elif new.most <= old.least:
        kept = kept._replace(most=length.most)
    else:
        times = times._replace(most=-(-length.most // old.least))
    if old.most == 0:
        times, kept = times._replace(least=min(length.least + 1, MAXIMUM)), kept._replace(least=length.least)
    elif old.most <= new.least:
        kept = kept._replace(least=length.least)
    else:
        times = times._replace(least=-(-length.least // old.most))
    return CallEstimate(length.scaled(2 * costs.STRING_TRAVERSAL), times.by(new).plus(kept))


def _quote_static(operands: Sequence[Operand]) -> CallEstimate:
    length = operands[0].size
    # Two quotes, and at worst a backslash before every character.
    result = length.plus(exactly(2))._replace(most=min(2 * length.most + 2, MAXIMUM))
    return CallEstimate(length.scaled(costs.STRING_TRAVERSAL), result)


_JOIN = costs.Hooks(runtime_cost=_join_runtime, static_cost=_join_static)
_SPLIT = costs.Hooks(runtime_cost=costs.TWO_TRAVERSALS["runtime_cost"], static_cost=_split_static)
_REPLACE = costs.Hooks(runtime_cost=costs.TWO_TRAVERSALS["runtime_cost"], static_cost=_replace_static)
_QUOTE = costs.Hooks(runtime_cost=costs.TRAVERSAL["runtime_cost"], static_cost=_quote_static)
_SAME_SIZE = costs.TRAVERSAL_OF_THE_SAME_SIZE

LIBRARY = Library(
    "cel.lib.ext.strings",
    functions=(
        function("charAt", member("string_char_at_int", (STRING, INT), STRING, _char_at)),
        function(
            "indexOf",
            member("string_index_of_string", (STRING, STRING), INT, _index_of, **costs.ELEMENTS_COMPARED),
            member("string_index_of_string_int", (STRING, STRING, INT), INT, _index_of, **costs.ELEMENTS_COMPARED),
        ),
        function(
            "lastIndexOf",
            member(
                "string_last_index_of_string",
                (STRING, STRING),
                INT,
                _last_index_of,
                **costs.ELEMENTS_COMPARED,
            ),
            member(
                "string_last_index_of_string_int",
                (STRING, STRING, INT),
                INT,
                _last_index_of,
                **costs.ELEMENTS_COMPARED,
            ),
        ),
        function("lowerAscii", member("string_lower_ascii", (STRING,), STRING, _lower, **_SAME_SIZE)),
        function("upperAscii", member("string_upper_ascii", (STRING,), STRING, _upper, **_SAME_SIZE)),
        function(
            "replace",
            member("string_replace_string_string", (STRING, STRING, STRING), STRING, _replace, **_REPLACE),
            member("string_replace_string_string_int", (STRING, STRING, STRING, INT), STRING, _replace, **_REPLACE),
        ),
        function(
            "split",
            member("string_split_string", (STRING, STRING), _STRINGS, _split, **_SPLIT),
            member("string_split_string_int", (STRING, STRING, INT), _STRINGS, _split, **_SPLIT),
        ),
        function(
            "substring",
            member("string_substring_int", (STRING, INT), STRING, _substring, **_SAME_SIZE),
            member("string_substring_int_int", (STRING, INT, INT), STRING, _substring, **_SAME_SIZE),
        ),
        function("trim", member("string_trim", (STRING,), STRING, _trim, **_SAME_SIZE)),
        function(
            "join",
            member("list_join", (_STRINGS,), STRING, _join, **_JOIN),
            member("list_join_string", (_STRINGS, STRING), STRING, _join, **_JOIN),
        ),
        function("format", member("string_format", (STRING, DYN_LIST), STRING, formatted, **costs.TRAVERSAL)),
        function("strings.quote", overload("strings_quote", (STRING,), STRING, _quote, **_QUOTE)),
    ),
    validators=(format_checks.validate,),
)
