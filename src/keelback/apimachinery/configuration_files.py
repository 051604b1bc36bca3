"""Files that configure a component, read as Kubernetes does: a kind in one of several versions, YAML, strictly."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from keelback.apimachinery import codecs, yaml
from keelback.apimachinery.errors import FieldError
from keelback.apimachinery.go_text import aggregate

T = TypeVar("T")


class ConfigurationError(ValueError):
    """A configuration cannot be used. The text says where and why, in upstream's words where there are some."""

    @classmethod
    def of(cls, problems: Iterable[FieldError]) -> ConfigurationError:
        """The fields that are wrong, all of them."""
        return cls(aggregate(f"{one.field}: {one.body}" for one in problems))


def read(text: str, cls: type[T], kind: str, group: str, versions: Sequence[str]) -> T:
    """The configuration in a file of the kind, which must be of one of the group's versions.

    Raises ConfigurationError, for unknown fields and repeated ones too.
    """
    if not text.strip():
        raise ConfigurationError("empty config data")
    try:
        tree, repeated = yaml.load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"error converting YAML to JSON: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigurationError(f"couldn't get version/kind: {_shown(tree)} is no object")
    api_version, found = tree.pop("apiVersion", ""), tree.pop("kind", "")
    if not found:
        raise ConfigurationError("Object 'Kind' is missing")
    if found != kind or api_version not in {f"{group}/{version}" for version in versions}:
        known = ", ".join(f"{group}/{version}" for version in versions)
        raise ConfigurationError(
            f'no kind "{found}" is registered for version "{api_version}": what is needed is a {kind} of {known}'
        )
    problems = [*repeated, *codecs.strict_errors(tree, cls)]
    if problems:
        raise ConfigurationError(f"strict decoding error: {', '.join(problems)}")
    try:
        return codecs.convert(cls, tree)
    except codecs.DecodeError as error:
        raise ConfigurationError(str(error)) from error


def _shown(tree: Any) -> str:
    return f"{tree!r:.40}"
