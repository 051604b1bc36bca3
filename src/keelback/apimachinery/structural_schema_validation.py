"""Validation of a JSON tree by an OpenAPI v3 schema, with the field errors of kube-openapi.

`old` makes a validation of a change: what did not change is not complained about (ratcheting).
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from keelback.apimachinery import errors, go_regexp
from keelback.apimachinery.errors import FieldError
from keelback.apimachinery.structural_schema import SchemaTree, additional

MISSING = object()
_NOWHERE = "<nil>"


def validate(value: Any, schema: SchemaTree, path: str = "", old: Any = MISSING) -> Iterator[FieldError]:
    """Everything wrong with a value. `path` is its field, empty for a whole object."""
    if old is not MISSING and old == value:
        return
    if value is None and schema.get("nullable"):
        return
    wrong = _wrong_type(value, schema, path)
    if wrong:
        yield from wrong
        return
    yield from _enum(value, schema, path)
    match value:
        case str():
            yield from _text(value, schema, path)
        case bool():
            pass
        case int() | float():
            yield from _number(value, schema, path)
        case list():
            yield from _list(value, schema, path, old)
        case dict():
            yield from _object(value, schema, path, old)
    yield from _junctors(value, schema, path)


def type_name(value: Any) -> str:
    """A value's type as JSON Schema calls it."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case str():
            return "string"
        case int():
            return "integer"
        case float():
            return "integer" if value.is_integer() else "number"
        case list():
            return "array"
    return "object"


def _wrong_type(value: Any, schema: SchemaTree, path: str) -> list[FieldError]:
    is_either = bool(schema.get("x-kubernetes-int-or-string"))
    wanted = ("integer", "string") if is_either else tuple(filter(None, (schema.get("type"),)))
    found = type_name(value)
    if not wanted or found in wanted or (found == "integer" and "number" in wanted):
        return []
    expected = ",".join(wanted)
    detail = f'{path} in body must be of type {expected}: "{found}"'
    wrong = [FieldError(path or _NOWHERE, errors.TYPE_INVALID, detail, found)]
    if found == "number" and wanted == ("integer",):
        detail = f"Checked value must be of type integer (default format) in {path}"
        wrong.append(FieldError(_NOWHERE, errors.INVALID, detail, ""))
    return wrong


def _enum(value: Any, schema: SchemaTree, path: str) -> Iterator[FieldError]:
    allowed = schema.get("enum")
    if not allowed or any(one == value and isinstance(one, bool) == isinstance(value, bool) for one in allowed):
        return
    shown = ", ".join(f'"{one if isinstance(one, str) else msgspec.json.encode(one).decode()}"' for one in allowed)
    yield FieldError(path or _NOWHERE, errors.NOT_SUPPORTED, f"supported values: {shown}", value)


def _invalid(path: str, value: Any, complaint: str) -> FieldError:
    return errors.invalid(path or _NOWHERE, value, f"{path} in body {complaint}")


def _text(value: str, schema: SchemaTree, path: str) -> Iterator[FieldError]:
    longest, shortest = schema.get("maxLength"), schema.get("minLength")
    if longest is not None and len(value) > longest:
        yield errors.too_long(path, longest)
    if shortest is not None and len(value) < shortest:
        yield _invalid(path, value, f"should be at least {shortest} chars long")
    pattern = schema.get("pattern")
    if pattern:
        try:
            matches = go_regexp.compiled(pattern).search(value) is not None
        except go_regexp.RegexpError as error:
            yield _invalid(path, value, f"should match '{pattern}', but pattern is invalid: {error}")
        else:
            if not matches:
                yield _invalid(path, value, f"should match '{pattern}'")
    form = schema.get("format")
    if form and not has_format(value, form):
        yield FieldError(path, errors.TYPE_INVALID, f'{path} in body must be of type {form}: "{value}"', value)


def has_format(value: str, form: str) -> bool:
    """Whether a text has a format. Formats that Kubernetes does not know hold for every text."""
    match form:
        case "date-time":
            return _parses_as_time(value)
        case "date":
            return bool(re.fullmatch(r"\d{4}-\d\d-\d\d", value)) and _parses_as_time(f"{value}T00:00:00Z")
        case "byte":
            try:
                base64.b64decode(value, validate=True)
            except (binascii.Error, ValueError):
                return False
            return True
        case "ipv4" | "ipv6" | "cidr":
            return _parses_as_address(value, form)
    pattern = _FORMATS.get(form)
    return pattern is None or pattern.fullmatch(value) is not None


_HEX = "[0-9a-fA-F]"
_FORMATS = {
    "uuid": re.compile(f"{_HEX}{{8}}-?{_HEX}{{4}}-?{_HEX}{{4}}-?{_HEX}{{4}}-?{_HEX}{{12}}"),
    "uuid3": re.compile(f"{_HEX}{{8}}-?{_HEX}{{4}}-?3{_HEX}{{3}}-?{_HEX}{{4}}-?{_HEX}{{12}}"),
    "uuid4": re.compile(f"{_HEX}{{8}}-?{_HEX}{{4}}-?4{_HEX}{{3}}-?[89abAB]{_HEX}{{3}}-?{_HEX}{{12}}"),
    "uuid5": re.compile(f"{_HEX}{{8}}-?{_HEX}{{4}}-?5{_HEX}{{3}}-?[89abAB]{_HEX}{{3}}-?{_HEX}{{12}}"),
    "email": re.compile(r"[^@\s]+@[^@\s]+"),
    "hostname": re.compile(r"(?=.{1,255}$)[0-9A-Za-z](?:[0-9A-Za-z-]{0,62})(?:\.[0-9A-Za-z-]{1,63})*\.?"),
    "uri": re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:\S*|/\S*)"),
    "mac": re.compile(f"(?:{_HEX}{{2}}[:-]){{5}}{_HEX}{{2}}"),
    "duration": re.compile(r"[-+]?(?:0|(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h|d|w)(?:(?:\d+(?:\.\d*)?)[a-zµ]+)*)"),
    "hexcolor": re.compile(f"#?(?:{_HEX}{{3}}|{_HEX}{{6}})"),
    "isbn10": re.compile(r"(?:[0-9]{9}X|[0-9]{10})"),
    "isbn13": re.compile(r"[0-9]{13}"),
    "ssn": re.compile(r"\d{3}[- ]?\d{2}[- ]?\d{4}"),
    "k8s-short-name": re.compile(r"(?=.{1,63}$)[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"),
    "k8s-long-name": re.compile(r"(?=.{1,253}$)[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*"),
}


def _parses_as_time(value: str) -> bool:
    if not re.fullmatch(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)", value):
        return False
    try:
        datetime.fromisoformat(value[:19].upper())
    except ValueError:
        return False
    return True


def _parses_as_address(value: str, form: str) -> bool:
    try:
        match form:
            case "ipv4":
                ipaddress.IPv4Address(value)
            case "ipv6":
                ipaddress.IPv6Address(value)
            case _:
                ipaddress.ip_network(value, strict=False)
                return "/" in value
    except ValueError:
        return False
    return True


def _shown(number: float) -> str:
    return str(int(number)) if float(number).is_integer() else str(number)


def _number(value: float, schema: SchemaTree, path: str) -> Iterator[FieldError]:
    highest, lowest, step = schema.get("maximum"), schema.get("minimum"), schema.get("multipleOf")
    if step and round(value / step, 9) % 1:
        yield _invalid(path, value, f"should be a multiple of {_shown(step)}")
    if highest is not None:
        if schema.get("exclusiveMaximum"):
            if value >= highest:
                yield _invalid(path, value, f"should be less than {_shown(highest)}")
        elif value > highest:
            yield _invalid(path, value, f"should be less than or equal to {_shown(highest)}")
    if lowest is not None:
        if schema.get("exclusiveMinimum"):
            if value <= lowest:
                yield _invalid(path, value, f"should be greater than {_shown(lowest)}")
        elif value < lowest:
            yield _invalid(path, value, f"should be greater than or equal to {_shown(lowest)}")
    form = schema.get("format")
    bits = {"int32": 31, "int64": 63}.get(form or "")
    if bits is not None and not -(2**bits) <= value < 2**bits:
        yield _invalid(path, value, f"must be of type {form}")


def _list(value: list[Any], schema: SchemaTree, path: str, old: Any) -> Iterator[FieldError]:
    most, least = schema.get("maxItems"), schema.get("minItems")
    if least is not None and len(value) < least:
        yield _invalid(path, len(value), f"should have at least {least} items")
    if most is not None and len(value) > most:
        yield errors.too_many(path, len(value), most)
    list_type, keys = schema.get("x-kubernetes-list-type"), tuple(schema.get("x-kubernetes-list-map-keys") or ())
    before = {_list_key(one, keys): one for one in old} if list_type == "map" and isinstance(old, list) else {}
    seen: set[bytes] = set()
    for at, one in enumerate(value):
        if list_type in ("set", "map"):
            key = _list_key(one, keys if list_type == "map" else ())
            if key in seen:
                shown = {name: one.get(name) for name in keys} if list_type == "map" and isinstance(one, dict) else one
                yield errors.duplicate(f"{path}[{at}]", shown)
            seen.add(key)
    items = schema.get("items")
    if isinstance(items, Mapping):
        for at, one in enumerate(value):
            correlated = before.get(_list_key(one, keys), MISSING) if before else MISSING
            yield from validate(one, items, f"{path}[{at}]", correlated)


def _list_key(element: Any, keys: tuple[str, ...]) -> bytes:
    what = [element.get(name) for name in keys] if keys and isinstance(element, dict) else element
    return msgspec.json.encode(what, order="sorted")


def _object(value: dict[str, Any], schema: SchemaTree, path: str, old: Any) -> Iterator[FieldError]:
    most, least = schema.get("maxProperties"), schema.get("minProperties")
    if least is not None and len(value) < least:
        yield _invalid(path, len(value), f"should have at least {least} properties")
    if most is not None and len(value) > most:
        yield errors.too_many(path, len(value), most)
    properties: SchemaTree = schema.get("properties") or {}
    others = additional(schema)
    before = old if isinstance(old, dict) else {}
    for name in schema.get("required") or ():
        if name not in value:
            yield errors.required(_below(path, name))
    if schema.get("x-kubernetes-embedded-resource"):
        for name in ("apiVersion", "kind"):
            if not value.get(name) and name not in (schema.get("required") or ()):
                yield errors.required(_below(path, name))
    for name, one in value.items():
        part = properties.get(name, others)
        if part is not None:
            yield from validate(one, part, _below(path, name), before.get(name, MISSING))


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _junctors(value: Any, schema: SchemaTree, path: str) -> Iterator[FieldError]:
    """oneOf, anyOf, allOf and not. What failed in the first alternative is told too."""
    if alternatives := schema.get("anyOf"):
        results = [list(validate(value, one, path)) for one in alternatives]
        if all(results):
            yield _junctor(path, "must validate at least one schema (anyOf)")
            yield from results[0]
    if alternatives := schema.get("oneOf"):
        results = [list(validate(value, one, path)) for one in alternatives]
        count = sum(not one for one in results)
        if count == 0:
            yield _junctor(path, "must validate one and only one schema (oneOf). Found none valid")
            yield from results[0]
        elif count > 1:
            yield _junctor(path, f"must validate one and only one schema (oneOf). Found {count} valid alternatives")
    if alternatives := schema.get("allOf"):
        results = [list(validate(value, one, path)) for one in alternatives]
        if any(results):
            yield _junctor(path, "must validate all the schemas (allOf)")
            for one in results:
                yield from one
    if (excluded := schema.get("not")) and not list(validate(value, excluded, path)):
        yield _junctor(path, "must not validate the schema (not)")


def _junctor(path: str, complaint: str) -> FieldError:
    return FieldError(_NOWHERE, errors.INVALID, f'"{path}" {complaint}', "")
