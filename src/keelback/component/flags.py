"""Command-line flags in upstream's form, declared as a frozen dataclass: `--name=value`, `--name value`, `--switch`.

A field's name with dashes is the flag, its type says how the text is read, `Annotated[..., "text"]` what help says.
"""

from __future__ import annotations

import dataclasses
import json
import re
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from keelback.component.http import parse_bool


class FlagError(Exception):
    """The command line cannot be understood; the message names the flag."""


@dataclass(frozen=True, slots=True)
class _DurationMark:
    pass


Duration = Annotated[float, _DurationMark()]
"""Seconds, written as Go writes durations: `40s`, `1m30s`, `500ms`."""


@dataclass(frozen=True, slots=True)
class _WholeMark:
    pass


Texts = Annotated[tuple[str, ...], _WholeMark()]
"""Texts that may have commas: the flag is given once for each."""

Options = TypeVar("Options")

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION_NUMBER = re.compile(r"\d+(?:\.\d*)?|\.\d+")
_DURATION_UNIT = re.compile(r"[^\d.]+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag of an options class."""

    name: str
    field: str
    description: str
    is_switch: bool
    repeats: bool
    is_map: bool
    read: Callable[[str], Any]


def parse(options: type[Options], arguments: Sequence[str]) -> Options:
    """The options that the arguments say, defaults for the rest. Raises FlagError."""
    flags = {flag.name: flag for flag in flags_of(options)}
    values: dict[str, Any] = {}
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("--"):
            raise FlagError(f"unknown argument {argument!r}: flags are written --name=value")
        name, given, text = argument[2:].partition("=")
        # Upstream takes underscores for dashes.
        flag = flags.get(name.replace("_", "-"))
        if flag is None:
            raise FlagError(f"unknown flag: --{name}")
        if not given:
            if flag.is_switch:
                text = "true"
            elif rest:
                text = rest.pop(0)
            else:
                raise FlagError(f"flag needs an argument: --{name}")
        _set(values, flag, text)
    return options(**values)


def flags_of(options: type[Any]) -> tuple[Flag, ...]:
    """The flags that an options class declares."""
    hints = get_type_hints(options, include_extras=True)
    return tuple(_flag(field.name, hints[field.name]) for field in dataclasses.fields(options))


def usage(options: type[Any]) -> str:
    """What help says of an options class: a line or two for each flag."""
    defaults = {
        field.name: field.default for field in dataclasses.fields(options) if field.default is not dataclasses.MISSING
    }
    lines = []
    for flag in flags_of(options):
        default = defaults.get(flag.field)
        shown = f" (default {default})" if default not in (None, "", (), False) else ""
        lines.append(f"  --{flag.name}\n        {flag.description}{shown}\n")
    return "".join(lines)


def written(options: Any) -> dict[str, str]:
    """Every flag of an options class with its value, as upstream's flags print theirs."""
    return {flag.name: _text(flag, getattr(options, flag.field)) for flag in flags_of(type(options))}


def _text(flag: Flag, value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case Mapping():
            return ",".join(f"{name}={value[name]}" for name in sorted(value))
        case tuple():
            return f"[{','.join(str(one) for one in value)}]"
        case _:
            return duration_text(value) if flag.read is parse_duration else str(value)


def parse_duration(text: str) -> float:
    """Seconds from a Go duration. Raises ValueError in Go's words."""
    sign, body = (-1.0, text[1:]) if text.startswith("-") else (1.0, text.removeprefix("+"))
    if body == "0":
        return 0.0
    parts = _DURATION_PART.findall(body)
    if not parts or "".join(number + unit for number, unit in parts) != body:
        raise ValueError(_duration_problem(text, body))
    return sign * sum(float(number) * _UNITS[unit] for number, unit in parts)


def _duration_problem(text: str, rest: str) -> str:
    """What Go's time.ParseDuration says of the first part that is none."""
    shown = json.dumps(text, ensure_ascii=False)
    while number := _DURATION_NUMBER.match(rest):
        rest = rest[number.end() :]
        unit = _DURATION_UNIT.match(rest)
        if not unit:
            return f"time: missing unit in duration {shown}"
        if unit.group() not in _UNITS:
            return f"time: unknown unit {json.dumps(unit.group(), ensure_ascii=False)} in duration {shown}"
        rest = rest[unit.end() :]
    return f"time: invalid duration {shown}"


def duration_text(seconds: float) -> str:
    """Seconds as Go writes a duration: `30s`, `1m30s`, `500ms`."""
    if seconds == 0:
        return "0s"
    sign, nanoseconds = ("-", round(-seconds * 1e9)) if seconds < 0 else ("", round(seconds * 1e9))
    for unit, size in (("ns", 1), ("µs", 1_000), ("ms", 1_000_000)):
        if nanoseconds < size * 1_000 and nanoseconds < 1_000_000_000:
            return f"{sign}{_decimal(nanoseconds, size)}{unit}"
    minutes, rest = divmod(nanoseconds, 60_000_000_000)
    hours, minutes = divmod(minutes, 60)
    shown = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{shown}{_decimal(rest, 1_000_000_000)}s"


def _decimal(number: int, size: int) -> str:
    whole, rest = divmod(number, size)
    digits = f"{rest:0{len(str(size)) - 1}d}".rstrip("0") if rest else ""
    return f"{whole}.{digits}" if digits else str(whole)


def _set(values: dict[str, Any], flag: Flag, text: str) -> None:
    try:
        value = flag.read(text)
    except ValueError as error:
        raise FlagError(f'invalid argument "{text}" for "--{flag.name}" flag: {error}') from error
    if flag.is_map:
        values[flag.field] = {**values.get(flag.field, {}), **value}
    elif flag.repeats:
        values[flag.field] = (*values.get(flag.field, ()), *value)
    else:
        values[flag.field] = value


def _flag(field: str, hint: Any) -> Flag:
    description = ""
    read: Callable[[str], Any] | None = None
    while get_origin(hint) is Annotated:
        hint, *notes = get_args(hint)
        for note in notes:
            if isinstance(note, str):
                description = note
            elif isinstance(note, _DurationMark):
                read = parse_duration
            elif isinstance(note, _WholeMark):
                read = _one
    if get_origin(hint) in (Union, types.UnionType):
        inner = [part for part in get_args(hint) if part is not type(None)]
        return dataclasses.replace(_flag(field, inner[0]), description=description)
    origin = get_origin(hint)
    return Flag(
        name=field.rstrip("_").replace("_", "-"),
        field=field,
        description=description,
        is_switch=hint is bool,
        repeats=origin is tuple,
        is_map=origin is not None and issubclass(origin, Mapping),
        read=read or _reader(hint, origin),
    )


def _one(text: str) -> tuple[str, ...]:
    return (text,)


def _reader(hint: Any, origin: Any) -> Callable[[str], Any]:
    if hint is bool:
        return parse_bool
    if hint is int:
        return _read_integer
    if origin is tuple:
        return lambda text: tuple(part for part in text.split(",") if part)
    if origin is not None and issubclass(origin, Mapping):
        return _read_map
    if callable(hint):
        read: Callable[[str], Any] = hint
        return read
    raise TypeError(f"no flag can have the type {hint}")


def _read_integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        # As Go has it, which is what those who know the flag have read before.
        raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


def _read_map(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",") if part]
    for name, equals, _ in pairs:
        if not equals:
            raise ValueError(f"{name} must be formatted as key=value")
    return {name.strip(): value for name, _, value in pairs}
