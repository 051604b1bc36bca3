"""YAML as Kubernetes reads it: YAML 1.1 booleans, no timestamps, string keys, duplicate keys noticed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _KubernetesLoader(_Loader):  # type: ignore[misc]
    """libyaml's safe loader with sigs.k8s.io/yaml's idea of scalars."""


_KubernetesLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}
_KubernetesLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:y|Y|n|N)$"), list("yYnN"))
_KubernetesLoader.bool_values = {**_Loader.bool_values, "y": True, "n": False}


class YAMLError(Exception):
    """The text is not YAML; the message is worded as go-yaml words it."""


def load(text: bytes | str) -> tuple[Any, list[str]]:
    """The first document as a JSON tree, and what go-yaml says of duplicate keys. Raises YAMLError."""
    loader = _KubernetesLoader(text)
    duplicates: list[str] = []
    try:
        node = loader.get_single_node() if _is_single(text) else _first_node(loader)
        duplicates.extend(_duplicates(node))
        return _stringed(loader.construct_document(node)) if node is not None else None, duplicates
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or str(error)
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark is not None and mark.line else ""
        raise YAMLError(f"yaml: {where}{problem}") from error
    finally:
        loader.dispose()


def dump(tree: Any) -> str:
    """A JSON tree as YAML with sorted keys, as the original prints it."""
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(tree, Dumper=dumper, default_flow_style=False, sort_keys=True, allow_unicode=True)
    return text


def _is_single(text: bytes | str) -> bool:
    return b"\n---" not in text if isinstance(text, bytes) else "\n---" not in text


def _first_node(loader: Any) -> Any:
    return loader.get_node() if loader.check_node() else None


def _duplicates(node: Any) -> Iterator[str]:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                yield f'line {key.start_mark.line + 1}: key "{key.value}" already set in map'
            seen.add(key.value)
            yield from _duplicates(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _duplicates(item)


def _stringed(value: Any) -> Any:
    """JSON has only string keys; YAML's other scalars as keys become their text."""
    if isinstance(value, dict):
        return {_key(key): _stringed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_stringed(item) for item in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value


def _key(key: Any) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    return str(key)
