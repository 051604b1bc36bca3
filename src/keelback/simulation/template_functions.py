"""What stages' templates call that needs but its arguments: Go's functions, KWOK's, the commonest of sprig's."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import yaml


class TemplateFailure(Exception):
    """A template cannot be rendered with what it is given; the text says why."""


def is_true(value: Any) -> bool:
    """Whether `if` takes it for true: neither nothing, nor false, nor zero, nor empty."""
    return bool(value)


def text_of(value: Any) -> str:
    """A value as Go's templates print it."""
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, Mapping):
        return f"map[{' '.join(f'{key}:{text_of(one)}' for key, one in sorted(value.items()))}]"
    if isinstance(value, list | tuple):
        return f"[{' '.join(map(text_of, value))}]"
    return str(value)


def _quote(value: Any) -> str:
    """KWOK's: JSON of a text, and a text of the JSON of anything else."""
    encoded = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return encoded if isinstance(value, str) else json.dumps(encoded, ensure_ascii=False)


def _yaml(value: Any, indent: int = 0) -> str:
    """KWOK's: YAML, on lines of its own where it is indented (by two blanks each)."""
    text: str = yaml.safe_dump(value, sort_keys=True, default_flow_style=False, allow_unicode=True)
    return ("\n" + text).replace("\n", "\n" + "  " * indent) if indent > 0 else text


def _equal(first: Any, *others: Any) -> bool:
    if not others:
        raise TemplateFailure("eq needs two arguments")
    return any(first == one and (type(first) is type(one) or _are_numbers(first, one)) for one in others)


def _are_numbers(*values: Any) -> bool:
    return all(isinstance(one, int | float) and not isinstance(one, bool) for one in values)


def _less(left: Any, right: Any) -> bool:
    if not (_are_numbers(left, right) or (isinstance(left, str) and isinstance(right, str))):
        raise TemplateFailure(f"{text_of(left)} and {text_of(right)} have no order")
    return bool(left < right)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, Mapping):
            value = value.get(key)
        elif isinstance(value, list | tuple | str) and isinstance(key, int) and 0 <= key < len(value):
            value = value[key]
        else:
            raise TemplateFailure(f"index {text_of(key)} of {text_of(value)}: there is no such")
    return value


def _length(value: Any) -> int:
    if not isinstance(value, str | list | tuple | Mapping):
        raise TemplateFailure(f"len of {text_of(value)}")
    return len(value)


def _print(*values: Any) -> str:
    return "".join(map(text_of, values))


def _printf(form: str, *values: Any) -> str:
    """Go's verbs that a manifest needs: %s %v %d %q %t %x %f, with width, precision and `*`."""
    left = list(values)

    def one(found: re.Match[str]) -> str:
        flags, width, precision, verb = found.groups()
        if verb == "%":
            return "%"
        if width == "*":
            width = str(_whole(left.pop(0)))
        value = left.pop(0)
        places = int(precision[1:]) if precision else 6
        drawn = {
            "d": lambda: str(_whole(value)),
            "q": lambda: json.dumps(text_of(value), ensure_ascii=False),
            "x": lambda: format(_whole(value), "x"),
            "f": lambda: f"{float(value):.{places}f}",
        }.get(verb, lambda: text_of(value))()
        size = int(width or 0)
        if "-" in flags:
            return drawn.ljust(size)
        return drawn.rjust(size, "0" if "0" in flags and verb in "dxf" else " ")

    try:
        return re.sub(r"%([-+# 0]*)(\d+|\*)?(\.\d+)?([%a-zA-Z])", one, form)
    except (IndexError, ValueError):
        raise TemplateFailure(f"printf {form!r} does not fit its arguments") from None


def _whole(value: Any) -> int:
    try:
        return int(value or 0)
    except (TypeError, ValueError):
        raise TemplateFailure(f"{text_of(value)!r} is no number") from None


def _divided(left: Any, right: Any) -> int:
    if not _whole(right):
        raise TemplateFailure("division by zero")
    # Towards zero, as Go does it.
    return int(_whole(left) / _whole(right))


def _dict(*pairs: Any) -> dict[str, Any]:
    keys = [text_of(one) for one in pairs[::2]]
    return dict(zip(keys, (*pairs[1::2], "") if len(pairs) % 2 else pairs[1::2], strict=True))


def _indented(width: int, text: str) -> str:
    return "\n".join(" " * width + line for line in text.split("\n"))


PLAIN: Final[Mapping[str, Callable[..., Any]]] = {
    # Go's.
    "not": lambda value: not is_true(value),
    "eq": _equal,
    "ne": lambda left, right: not _equal(left, right),
    "lt": _less,
    "le": lambda left, right: not _less(right, left),
    "gt": lambda left, right: _less(right, left),
    "ge": lambda left, right: not _less(left, right),
    "len": _length,
    "index": _index,
    "print": _print,
    "println": lambda *values: " ".join(map(text_of, values)) + "\n",
    "printf": _printf,
    # KWOK's.
    "Quote": _quote,
    "YAML": _yaml,
    # sprig's.
    "dict": _dict,
    "list": lambda *values: list(values),
    "default": lambda default, value=None: value if is_true(value) else default,
    "empty": lambda value=None: not is_true(value),
    "coalesce": lambda *values: next(filter(is_true, values), None),
    "ternary": lambda yes, no, decides: yes if decides else no,
    "get": lambda holder, key: (holder or {}).get(key, ""),
    "hasKey": lambda holder, key: key in (holder or {}),
    "keys": lambda *holders: [key for holder in holders for key in sorted(holder)],
    "first": lambda values: values[0] if values else None,
    "last": lambda values: values[-1] if values else None,
    "has": lambda value, values: value in (values or ()),
    "until": lambda count: list(range(_whole(count))),
    "add": lambda *values: sum(map(_whole, values)),
    "add1": lambda value: _whole(value) + 1,
    "sub": lambda left, right: _whole(left) - _whole(right),
    "mul": lambda left, right: _whole(left) * _whole(right),
    "div": _divided,
    "mod": lambda left, right: _whole(left) - _whole(right) * _divided(left, right),
    "max": lambda *values: max(map(_whole, values)),
    "min": lambda *values: min(map(_whole, values)),
    "int": _whole,
    "int64": _whole,
    "toString": text_of,
    "quote": lambda *values: " ".join(
        json.dumps(text_of(one), ensure_ascii=False) for one in values if one is not None
    ),
    "squote": lambda *values: " ".join(f"'{text_of(one)}'" for one in values if one is not None),
    "upper": lambda text: text_of(text).upper(),
    "lower": lambda text: text_of(text).lower(),
    "trim": lambda text: text_of(text).strip(),
    "trimPrefix": lambda prefix, text: text_of(text).removeprefix(prefix),
    "trimSuffix": lambda suffix, text: text_of(text).removesuffix(suffix),
    "trunc": lambda length, text: text_of(text)[:length] if length >= 0 else text_of(text)[length:],
    "replace": lambda old, new, text: text_of(text).replace(old, new),
    "contains": lambda part, text: part in text_of(text),
    "hasPrefix": lambda prefix, text: text_of(text).startswith(prefix),
    "hasSuffix": lambda suffix, text: text_of(text).endswith(suffix),
    "join": lambda separator, values: separator.join(map(text_of, values or ())),
    "splitList": lambda separator, text: text_of(text).split(separator),
    "indent": _indented,
    "nindent": lambda width, text: "\n" + _indented(width, text),
    "toJson": lambda value: json.dumps(value, separators=(",", ":"), ensure_ascii=False),
}
"""By the name under which a template calls them."""
