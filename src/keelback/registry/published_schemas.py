"""What the published schemas of a Kubernetes version name: its kinds, and the fields of each of their parts.

They come with the kubernetes-validate package. Only names and references are read here; a server of the default
version, whose types say as much, reads nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import msgspec

from keelback.apimachinery.kubernetes_versions import SUPPORTED, KubernetesVersion

REFERENCE_PREFIX: Final = "#/$defs/"
_OF_EVERY_GROUP: Final = "io.k8s.apimachinery.pkg.apis.meta.v1."
"""What belongs to each group version: DeleteOptions and WatchEvent are no resources."""


class Part(msgspec.Struct, frozen=True):
    """What stands at one place: a part that has a name, the elements of a list or the values of a map, or a scalar."""

    reference: str = msgspec.field(default="", name="$ref")
    items: Part | None = None
    values: Part | bool = msgspec.field(default=False, name="additionalProperties")

    @property
    def name(self) -> str:
        """The definition that is named here, by the element or by the value of a map; empty where there is none."""
        if self.reference:
            return self.reference.removeprefix(REFERENCE_PREFIX)
        inner = self.items or (self.values if isinstance(self.values, Part) else None)
        return inner.name if inner is not None else ""


class _GroupVersionKind(msgspec.Struct, frozen=True):
    group: str
    kind: str
    version: str


class Definition(msgspec.Struct, frozen=True):
    """The fields of a named part; none where anything may stand, or what is written as a scalar."""

    properties: dict[str, Part] = {}
    kinds: tuple[_GroupVersionKind, ...] = msgspec.field(default=(), name="x-kubernetes-group-version-kind")


class _Document(msgspec.Struct):
    definitions: dict[str, Definition] = msgspec.field(name="$defs")


class PublishedSchemas:
    """The definitions of one version."""

    def __init__(self, definitions: Mapping[str, Definition]) -> None:
        self.definitions = definitions
        self._names = dict(_kinds(definitions))

    def name_of(self, group: str, version: str, kind: str) -> str | None:
        """The name of a kind's definition, None where it is not published."""
        return self._names.get((group, version, kind))


def _kinds(definitions: Mapping[str, Definition]) -> Iterator[tuple[tuple[str, str, str], str]]:
    for name, definition in definitions.items():
        if not name.startswith(_OF_EVERY_GROUP):
            for one in definition.kinds:
                yield (one.group, one.version, one.kind), name


def document(version: KubernetesVersion) -> bytes:
    """The published document. Raises FileNotFoundError where it is not installed, naming those that are."""
    folder = _folder()
    try:
        return (folder / f"{version.git_version}-local" / "_definitions.json").read_bytes()
    except FileNotFoundError:
        there = [one for one in SUPPORTED if (folder / f"{one.git_version}-local").is_dir()]
        raise FileNotFoundError(
            f"the package kubernetes-validate has no schemas of Kubernetes {version}: there is "
            f"{', '.join(map(str, there)) or 'none'}"
        ) from None


def _folder() -> Path:
    # The package is found, not imported: what validates by these schemas takes a tenth of a second to load.
    found = find_spec("kubernetes_validate")
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError("the package kubernetes-validate, which has the published schemas, is not installed")
    return Path(found.submodule_search_locations[0], "kubernetes-json-schema")


@lru_cache(maxsize=2)
def of_version(version: KubernetesVersion) -> PublishedSchemas:
    """What is published of a version. Raises FileNotFoundError where the package does not have it."""
    return PublishedSchemas(msgspec.json.decode(document(version), type=_Document).definitions)
