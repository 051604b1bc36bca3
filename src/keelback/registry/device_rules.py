"""What the kinds of resource.k8s.io have in common: names of pools and attributes, selectors, taints, lists."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Final, TypeVar

import msgspec

from keelback.api.resource_v1 import (
    DeviceSelector,
    DeviceTaint,
    DeviceToleration,
    OpaqueDeviceConfiguration,
)
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, duplicate, invalid, not_supported, required, too_long, too_many
from keelback.registry import device_expressions
from keelback.registry.volume_sources import validate_driver

T = TypeVar("T")

MOST: Final = 32
"""Requests, constraints, configurations, selectors, results: at most this many of each."""

_EFFECTS: Final = ("NoExecute", "NoSchedule", "None")
_LONGEST_POOL: Final = 253
_LONGEST_IDENTIFIER: Final = 32
_LONGEST_EXPRESSION: Final = 10 * 1024
_LONGEST_PARAMETERS: Final = 10 * 1024
_MOST_BINDING_CONDITIONS: Final = 4
_IN_WORDS: Final = "<value omitted>"
_is_uuid: Final = re.compile("[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}").fullmatch
_UUID_LENGTH: Final = 36


def each(
    items: Sequence[T], path: str, problems: Callable[[T, str], Iterator[FieldError]], most: int = MOST
) -> Iterator[FieldError]:
    """What is wrong with each of a list's items. Nothing is said of them where there are too many."""
    if len(items) > most:
        yield too_many(path, len(items), most)
        return
    for index, item in enumerate(items):
        yield from problems(item, f"{path}[{index}]")


def each_once(
    items: Sequence[T],
    path: str,
    problems: Callable[[T, str], Iterator[FieldError]],
    key: Callable[[T], Hashable],
    most: int = MOST,
) -> Iterator[FieldError]:
    """The same, and then which of the items are there before."""
    yield from each(items, path, problems, most)
    if len(items) > most:
        return
    seen: set[Hashable] = set()
    for index, item in enumerate(items):
        value = key(item)
        if value in seen:
            yield duplicate(f"{path}[{index}]", value)
        seen.add(value)


def label(name: str, path: str) -> Iterator[FieldError]:
    """What is wrong with the name of a device, a request or a counter."""
    for complaint in names.dns1123_label(name):
        yield invalid(path, name, complaint)


def given_label(name: str, path: str) -> Iterator[FieldError]:
    """The same, where the field is missing if it is empty."""
    if not name:
        yield required(path)
    else:
        yield from label(name, path)


def label_name(name: str, path: str) -> Iterator[FieldError]:
    """What is wrong with the key of a taint or the type of a condition."""
    for complaint in names.qualified_name(name):
        yield invalid(path, name, complaint)


def _label_value(value: str, path: str) -> Iterator[FieldError]:
    for complaint in names.label_value(value):
        yield invalid(path, value, complaint)


def pool_name(name: str, path: str) -> Iterator[FieldError]:
    """What is wrong with the name of a pool: subdomains between slashes."""
    if not name:
        yield required(path)
        return
    if len(name.encode()) > _LONGEST_POOL:
        yield too_long(path, _LONGEST_POOL)
    for part in name.split("/"):
        for complaint in names.dns1123_subdomain(part):
            yield invalid(path, part, complaint)


def share_id(uid: str, path: str) -> Iterator[FieldError]:
    """What is wrong with the UID of a share of a device. Other ways of writing a UUID are told apart from none."""
    bare = uid.removeprefix("urn:uuid:").removeprefix("{").removesuffix("}")
    if len(uid) not in (_UUID_LENGTH, len("urn:uuid:") + _UUID_LENGTH, len("{}") + _UUID_LENGTH, _UUID_LENGTH - 4):
        yield invalid(path, uid, f"error validating uid: invalid UUID length: {len(uid)}")
    elif not _is_uuid(bare) and not re.fullmatch("[0-9a-fA-F]{32}", uid):
        yield invalid(path, uid, "error validating uid: invalid UUID format")
    elif len(uid) != _UUID_LENGTH or uid != uid.lower():
        form = "`xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase hexadecimal characters"
        yield invalid(path, uid, f"uid must be in RFC 4122 normalized form, {form}")


def attribute_name(name: str, path: str) -> Iterator[FieldError]:
    """What is wrong with the name of an attribute or a capacity: an identifier, maybe with a domain before it."""
    match name.split("/"):
        case [identifier]:
            yield from _identifier(identifier, path)
        case [domain, identifier]:
            if domain:
                yield from validate_driver(domain, path)
            else:
                yield invalid(path, "", "the domain must not be empty")
            if identifier:
                yield from _identifier(identifier, path)
            else:
                yield invalid(path, "", "the name must not be empty")
        case _:
            pass  # Upstream has no objection to more slashes.


def full_attribute_name(name: str, path: str) -> Iterator[FieldError]:
    """The same where the domain may not be left out."""
    yield from attribute_name(name, path)
    if "/" not in name:
        yield invalid(path, name, "a fully qualified name must be a domain and a name separated by a slash")


def _identifier(identifier: str, path: str) -> Iterator[FieldError]:
    if len(identifier.encode()) > _LONGEST_IDENTIFIER:
        yield too_long(path, _LONGEST_IDENTIFIER)
    for complaint in names.c_identifier(identifier):
        yield invalid(path, identifier, complaint)


def selectors(given: Sequence[DeviceSelector], path: str) -> Iterator[FieldError]:
    """What is wrong with expressions that choose devices."""
    yield from each(given, path, _selector)


def _selector(selector: DeviceSelector, path: str) -> Iterator[FieldError]:
    if selector.cel is None:
        yield required(f"{path}.cel")
        return
    expression = selector.cel.expression
    if len(expression.encode()) > _LONGEST_EXPRESSION:
        yield too_long(f"{path}.cel.expression", _LONGEST_EXPRESSION)
    elif problem := device_expressions.problem(expression):
        yield invalid(f"{path}.cel.expression", expression, problem)


def opaque(configuration: OpaqueDeviceConfiguration | None, path: str) -> Iterator[FieldError]:
    """What is wrong with a driver's own configuration."""
    if configuration is None:
        yield required(path)
        return
    yield from validate_driver(configuration.driver, f"{path}.driver")
    yield from json_object(configuration.parameters, f"{path}.parameters")


def json_object(data: msgspec.Raw, path: str) -> Iterator[FieldError]:
    """What is wrong with data whose form only its driver knows."""
    text = bytes(data)
    if not text:
        yield required(path)
    elif len(text) > _LONGEST_PARAMETERS:
        yield too_long(path, _LONGEST_PARAMETERS)
    else:
        value = json.loads(text)
        if value is None:
            yield required(path)
        elif not isinstance(value, dict):
            yield invalid(path, _IN_WORDS, "must be a valid JSON object")


def taint(given: DeviceTaint, path: str) -> Iterator[FieldError]:
    """What is wrong with a taint of a device."""
    yield from label_name(given.key, f"{path}.key")
    yield from _label_value(given.value, f"{path}.value")
    if not given.effect:
        yield required(f"{path}.effect")
    elif given.effect not in _EFFECTS:
        yield not_supported(f"{path}.effect", given.effect, _EFFECTS)


def toleration(given: DeviceToleration, path: str) -> Iterator[FieldError]:
    """What is wrong with a toleration of such taints."""
    if given.key:
        yield from label_name(given.key, f"{path}.key")
    if given.operator == "Exists":
        if given.value:
            yield invalid(f"{path}.value", given.value, "must be empty for operator `Exists`")
    elif given.operator == "Equal":
        yield from _label_value(given.value, f"{path}.value")
    elif not given.operator:
        yield required(f"{path}.operator")
    else:
        yield not_supported(f"{path}.operator", given.operator, ("Equal", "Exists"))
    if given.effect and given.effect not in _EFFECTS:
        yield not_supported(f"{path}.effect", given.effect, _EFFECTS)


def binding_conditions(wanted: Sequence[str], failing: Sequence[str], path: str) -> Iterator[FieldError]:
    """What is wrong with the conditions that a pod waits for before it is bound, and with those that end the wait."""
    here, other = f"{path}.bindingConditions", f"{path}.bindingFailureConditions"
    yield from each(wanted, here, label_name, _MOST_BINDING_CONDITIONS)
    yield from each(failing, other, label_name, _MOST_BINDING_CONDITIONS)
    for index, condition in enumerate(wanted):
        if condition in wanted[:index]:
            yield duplicate(f"{here}[{index}]", condition)
    for index, condition in enumerate(failing):
        if condition in failing[:index]:
            yield duplicate(f"{other}[{index}]", condition)
        if condition in wanted:
            why = "bindingFailureConditions must not overlap with bindingConditions"
            yield invalid(f"{other}[{index}]", condition, why)
    if failing and not wanted:
        yield invalid(here, None, "bindingConditions are required to use bindingFailureConditions")
    if wanted and not failing:
        yield invalid(other, None, "bindingFailureConditions are required to use bindingConditions")
