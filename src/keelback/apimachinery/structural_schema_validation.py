"""Validation of a JSON tree by an OpenAPI v3 schema, with the field errors of kube-openapi in its order.

`old` makes a validation of a change: what did not change is not complained about (KEP-4008, validation ratcheting).
Uniqueness in sets and maps is a pass of its own, as in upstream: `structural_schema_lists`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from keelback.apimachinery import errors, go_regexp, structural_schema_lists
from keelback.apimachinery.errors import FieldError
from keelback.apimachinery.go_text import go_quoted
from keelback.apimachinery.structural_schema import SchemaTree
from keelback.apimachinery.structural_schema_formats import has_format, is_enforced

MISSING = object()
_NOWHERE = "<nil>"
_MAX_EXACT = 2.0**53 - 1
_MAX_FLOAT32 = 3.40282346638528859811704183484516925440e38


def validate(value: Any, schema: SchemaTree, path: str = "", old: Any = MISSING) -> Iterator[FieldError]:
    """Everything wrong with a value. `path` is its field, empty for a whole object."""
    found: list[FieldError] = []
    _check(value, schema, path, old, found)
    return iter(found)


def validate_below(base: str, value: Any, schema: SchemaTree, old: Any = MISSING) -> Iterator[FieldError]:
    """The same for a part of an object: the fields begin at `base`, the words name them from the part on."""
    for one in validate(value, schema, "", old):
        if one.field in ("", _NOWHERE):
            yield FieldError(base, one.type, one.detail, one.bad_value)
        else:
            yield one.under(base)


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
            return "integer" if -(2**63) <= value < 2**63 else "number"
        case float():
            return "integer" if _is_whole(value) else "number"
        case list():
            return "array"
    return "object"


def _is_whole(value: float) -> bool:
    return value.is_integer() and abs(value) <= _MAX_EXACT


def is_same(value: Any, old: Any) -> bool:
    """Whether two trees are equal, numbers and booleans told apart."""
    # True equals 1 in Python, and 1.0 does.
    return bool(value == old) and (
        type(value) is type(old)
        and msgspec.json.encode(value, order="deterministic") == msgspec.json.encode(old, order="deterministic")
    )


def _check(value: Any, schema: SchemaTree, path: str, old: Any, found: list[FieldError]) -> int:
    """Add what is wrong, and tell how much was right: alternatives are judged by that (kube-openapi's MatchCount)."""
    before = len(found)
    matches = _types(value, schema, path, found)
    if value is not None:
        matches += _junctors(value, schema, path, old, found) + 3
        match value:
            case str():
                _text(value, schema, path, found)
                matches += 2
            case bool():
                pass
            case int() | float():
                _number(value, schema, path, found)
                matches += 2
            case list():
                matches += _list(value, schema, path, old, found) + 2
    _enum(value, schema, path, found)
    if isinstance(value, dict):
        matches += _object(value, schema, path, old, found) + 1
    if old is not MISSING and len(found) > before and is_same(value, old):
        del found[before:]
    return matches


def _types(value: Any, schema: SchemaTree, path: str, found: list[FieldError]) -> int:
    either = schema.get("x-kubernetes-int-or-string")
    given = schema.get("type")
    wanted = ("integer", "string") if either else (given,) if given else ()
    form = schema.get("format") or ""
    if form and not is_enforced(form):
        form = ""
    if not wanted and not form:
        return 0
    actual = type_name(value)
    if value is None:
        if wanted and not schema.get("nullable"):
            found.append(_wrong_type(path, ",".join(wanted), actual))
            return 0
        return 1
    fits = actual in wanted or (actual == "integer" and "number" in wanted)
    if form and not isinstance(value, str | list):
        if not fits:
            shown = {bool: "", dict: ""}.get(type(value), "int64" if isinstance(value, int) else "float64")
            found.append(_wrong_type(path, form, shown))
            return 0
    elif form and "number" not in wanted and "integer" not in wanted:
        return 2
    if not fits:
        found.append(_wrong_type(path, ",".join(wanted), actual))
        return 0
    return 2


def _wrong_type(path: str, expected: str, shown: str) -> FieldError:
    detail = f"{path} in body must be of type {expected}: {go_quoted(shown)}"
    return FieldError(path or _NOWHERE, errors.TYPE_INVALID, detail, shown)


def _enum(value: Any, schema: SchemaTree, path: str, found: list[FieldError]) -> None:
    allowed = schema.get("enum")
    if not allowed or any(one == value and isinstance(one, bool) == isinstance(value, bool) for one in allowed):
        return
    shown = ", ".join(f'"{one if isinstance(one, str) else msgspec.json.encode(one).decode()}"' for one in allowed)
    found.append(FieldError(path or _NOWHERE, errors.NOT_SUPPORTED, f"supported values: {shown}", value))


def _invalid(path: str, value: Any, complaint: str) -> FieldError:
    return errors.invalid(path or _NOWHERE, value, f"{path} in body {complaint}")


def _text(value: str, schema: SchemaTree, path: str, found: list[FieldError]) -> None:
    wrong = _wrong_text(value, schema, path)
    if wrong is not None:
        found.append(wrong)
    form = schema.get("format")
    if form and not has_format(value, form):
        detail = f"{path} in body must be of type {form}: {go_quoted(value)}"
        found.append(FieldError(path or _NOWHERE, errors.TYPE_INVALID, detail, value))


def _wrong_text(value: str, schema: SchemaTree, path: str) -> FieldError | None:
    """The first thing that is wrong with a text."""
    longest, shortest = schema.get("maxLength"), schema.get("minLength")
    if longest is not None and len(value) > longest:
        return errors.too_long(path or _NOWHERE, longest)
    if shortest is not None and len(value) < shortest:
        return _invalid(path, value, f"should be at least {shortest} chars long")
    pattern = schema.get("pattern")
    if pattern:
        try:
            matches = go_regexp.compiled(pattern).search(value) is not None
        except go_regexp.RegexpError as error:
            return _invalid(path, value, f"should match '{pattern}, but pattern is invalid: {error}'")
        if not matches:
            return _invalid(path, value, f"should match '{pattern}'")
    return None


def _shown(number: float) -> str:
    """A number of the schema as Go's %v prints it."""
    if abs(number) >= 1e21 or (number and abs(number) < 1e-4):
        mantissa, _, exponent = f"{number:e}".partition("e")
        digits = repr(float(number)).partition("e")[0] if "e" in repr(float(number)) else mantissa.rstrip("0")
        return f"{digits.removesuffix('.0').rstrip('.')}e{exponent}"
    return str(int(number)) if float(number).is_integer() else repr(float(number))


def _number(value: float, schema: SchemaTree, path: str, found: list[FieldError]) -> None:
    given = "" if schema.get("x-kubernetes-int-or-string") else schema.get("type") or ""
    highest, lowest, step = schema.get("maximum"), schema.get("minimum"), schema.get("multipleOf")
    found.extend(_outside(value, given, "Checked", path))
    if step is not None:
        found.extend(_outside(step, given, "MultipleOf", path))
        if step < 0:
            text = f"factor MultipleOf declared for {path} must be positive: {_shown(step)}"
            found.append(errors.invalid(path or _NOWHERE, step, text))
        elif step and not _is_multiple(value, step):
            found.append(_invalid(path, value, f"should be a multiple of {_shown(step)}"))
    if highest is not None:
        found.extend(_outside(highest, given, "Maximum boundary", path))
        if schema.get("exclusiveMaximum"):
            if value >= highest:
                found.append(_invalid(path, value, f"should be less than {_shown(highest)}"))
        elif value > highest:
            found.append(_invalid(path, value, f"should be less than or equal to {_shown(highest)}"))
    if lowest is not None:
        found.extend(_outside(lowest, given, "Minimum boundary", path))
        if schema.get("exclusiveMinimum"):
            if value <= lowest:
                found.append(_invalid(path, value, f"should be greater than {_shown(lowest)}"))
        elif value < lowest:
            found.append(_invalid(path, value, f"should be greater than or equal to {_shown(lowest)}"))


def _outside(number: float, given: str, what: str, path: str) -> Iterator[FieldError]:
    """A number, or a bound of the schema, that is no 64-bit integer where integers are meant."""
    if given == "integer" and not (float(number).is_integer() and -(2**63) <= number < 2**63):
        detail = f"{what} value must be of type integer (default format) in {path}"
        yield FieldError(_NOWHERE, errors.INVALID, detail, "")


def _is_multiple(value: float, step: float) -> bool:
    if isinstance(value, int) and isinstance(step, int):
        return value % step == 0
    times = 1 / step * value if step < 1 else value / step
    if not math.isfinite(times) or abs(times) > _MAX_EXACT:
        return False
    # swag.IsFloat64AJSONInteger: a millionth part of a percent off is whole enough.
    whole = float(int(times))
    difference = abs(times - whole)
    if times == whole:
        return True
    if not times or not whole or difference < 2.2250738585072014e-308:
        return difference < 1e-9 * 2.2250738585072014e-308
    return difference / (abs(times) + abs(whole)) < 1e-9


def _list(value: list[Any], schema: SchemaTree, path: str, old: Any, found: list[FieldError]) -> int:
    items, matches = schema.get("items"), 0
    if isinstance(items, Mapping):
        is_map = schema.get("x-kubernetes-list-type") == "map" and isinstance(old, list)
        keys = tuple(schema.get("x-kubernetes-list-map-keys") or ())
        before = structural_schema_lists.by_key(old, keys, items) if is_map else {}
        for at, one in enumerate(value):
            key = structural_schema_lists.key_of(one, keys, items) if before else None
            matches += _check(one, items, f"{path}[{at}]", before.get(key, MISSING) if key else MISSING, found)
    most, least = schema.get("maxItems"), schema.get("minItems")
    if least is not None and len(value) < least:
        found.append(_invalid(path, len(value), f"should have at least {least} items"))
    if most is not None and len(value) > most:
        found.append(errors.too_many(path or _NOWHERE, len(value), most))
    return matches


def _object(value: dict[str, Any], schema: SchemaTree, path: str, old: Any, found: list[FieldError]) -> int:
    most, least = schema.get("maxProperties"), schema.get("minProperties")
    if least is not None and len(value) < least:
        found.append(_invalid(path, least, f"should have at least {least} properties"))
        return 0
    if most is not None and len(value) > most:
        found.append(errors.too_many(path or _NOWHERE, len(value), most))
        return 0
    properties: SchemaTree = schema.get("properties") or {}
    others = schema.get("additionalProperties")
    before = old if isinstance(old, dict) else {}
    matches = 0
    if isinstance(others, Mapping):
        for name, one in value.items():
            if name not in properties:
                matches += _check(one, others, _below(path, name), before.get(name, MISSING), found)
    for name, one in value.items():
        if name in properties:
            matches += _check(one, properties[name], _below(path, name), before.get(name, MISSING), found)
    found.extend(errors.required(_below(path, name)) for name in schema.get("required") or () if name not in value)
    return matches


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _junctors(value: Any, schema: SchemaTree, path: str, old: Any, found: list[FieldError]) -> int:
    """oneOf, anyOf, allOf and not. What is wrong with the best of the alternatives is told too."""
    matches = 0
    if alternatives := schema.get("anyOf"):
        best, count, most = _alternatives(value, alternatives, path, old, stops=True)
        if not count:
            found.append(_junctor(path, "must validate at least one schema (anyOf)"))
        found.extend(best)
        matches += most
    if alternatives := schema.get("oneOf"):
        best, count, most = _alternatives(value, alternatives, path, old)
        if count != 1:
            told = f"Found {count} valid alternatives" if count else "Found none valid"
            found.append(_junctor(path, f"must validate one and only one schema (oneOf). {told}"))
        found.extend(best)
        matches += most
    if parts := schema.get("allOf"):
        valid = 0
        for part in parts:
            before = len(found)
            matches += _check(value, part, path, old, found)
            valid += len(found) == before
        if valid != len(parts):
            told = "" if valid else ". None validated"
            found.append(_junctor(path, f"must validate all the schemas (allOf){told}"))
    excluded = schema.get("not")
    if excluded is not None:
        wrong: list[FieldError] = []
        _check(value, excluded, path, old, wrong)
        if not wrong:
            found.append(_junctor(path, "must not validate the schema (not)"))
    return matches


def _alternatives(
    value: Any, alternatives: Any, path: str, old: Any, *, stops: bool = False
) -> tuple[list[FieldError], int, int]:
    """What is wrong with the best alternative if none is valid; how many are; the matches of the one that counts."""
    best: list[FieldError] = []
    valid, most, first = 0, -1, 0
    for one in alternatives:
        wrong: list[FieldError] = []
        matches = _check(value, one, path, old, wrong)
        if not wrong:
            if not valid:
                first = matches
            valid += 1
            best = []
            if stops:
                break
        elif not valid and matches > most:
            best, most = wrong, matches
    return best, valid, first if valid else most


def _junctor(path: str, complaint: str) -> FieldError:
    return FieldError(_NOWHERE, errors.INVALID, f'"{path}" {complaint}', "")
