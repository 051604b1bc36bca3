"""YAML that is not plain JSON: read and written with PyYAML."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from keelback.apimachinery import json_text
from keelback.apimachinery.yaml import YAMLError

# Where go-yaml begins, and ceases, to tighten how much of a document may come from aliases.
_FEW, _MANY = 400_000, 4_000_000
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _KubernetesLoader(_Loader):  # type: ignore[misc]
    """libyaml's safe loader with sigs.k8s.io/yaml's idea of scalars."""


_KubernetesLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}
_KubernetesLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:y|Y|n|N)$"), list("yYnN"))
_KubernetesLoader.bool_values = {**_Loader.bool_values, "y": True, "n": False}


def load(text: bytes | str) -> tuple[Any, list[str]]:
    """The first document as a JSON tree, and what go-yaml says of duplicate keys. Raises YAMLError."""
    duplicates: list[str] = []
    loader = None
    try:
        if _may_be_deep(text):
            _check_depth(text)
        loader = _KubernetesLoader(text)
        node = loader.get_single_node() if _is_single(text) else _first_node(loader)
        if _has_aliases(text):
            _check_aliases(node)
        duplicates.extend(_duplicates(node))
        return _stringed(loader.construct_document(node)) if node is not None else None, duplicates
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or str(error)
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark is not None and mark.line else ""
        raise YAMLError(f"yaml: {where}{problem}") from error
    except ValueError as error:
        # Python refuses to read thousands of digits.
        raise YAMLError(f"yaml: cannot decode a scalar: {error}") from error
    finally:
        if loader is not None:
            loader.dispose()


def dump(tree: Any) -> str:
    """A JSON tree as YAML with sorted keys, as the original prints it."""
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(tree, Dumper=dumper, default_flow_style=False, sort_keys=True, allow_unicode=True)
    return text


def _is_single(text: bytes | str) -> bool:
    return b"\n---" not in text if isinstance(text, bytes) else "\n---" not in text


def _may_be_deep(text: bytes | str) -> bool:
    """Each level costs at least one of these: most texts need no second look."""
    marks: Any = (b"[", b"{", b"-", b":", b"?") if isinstance(text, bytes) else ("[", "{", "-", ":", "?")
    return sum(map(text.count, marks)) > json_text.DEEPEST


def _check_depth(text: bytes | str) -> None:
    """Raises YAMLError where collections nest too deep: composing them is recursion in C, without a bound."""
    depth = 0
    for event in yaml.parse(text, Loader=_KubernetesLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > json_text.DEEPEST:
                raise YAMLError(f"yaml: exceeded max depth of {json_text.DEEPEST}")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _has_aliases(text: bytes | str) -> bool:
    return (b"*" in text) if isinstance(text, bytes) else ("*" in text)


def _check_aliases(node: Any) -> None:
    """Raises YAMLError for a value that contains itself, and for one that aliases blow up, by go-yaml's measure."""
    sizes: dict[int, int] = {}
    size = _expanded(node, sizes)
    through_aliases = size - len(sizes)
    allowed = 0.99 if size <= _FEW else 0.10 if size >= _MANY else 0.99 - 0.89 * (size - _FEW) / (_MANY - _FEW)
    if through_aliases > 100 and size > 1000 and through_aliases / size > allowed:
        raise YAMLError("yaml: document contains excessive aliasing")


def _expanded(node: Any, sizes: dict[int, int]) -> int:
    """How many nodes there are when each alias is replaced by what it stands for."""
    known = sizes.get(id(node))
    if known == 0:
        raise YAMLError("yaml: anchor value contains itself")
    if known is not None:
        return known
    sizes[id(node)] = 0
    below: list[Any] = []
    if isinstance(node, yaml.MappingNode):
        below = [part for pair in node.value for part in pair]
    elif isinstance(node, yaml.SequenceNode):
        below = node.value
    size = sizes[id(node)] = 1 + sum([_expanded(one, sizes) for one in below])
    return size


def _go_syntax(node: Any) -> str:
    if isinstance(node, yaml.SequenceNode):
        return f"[]interface {{}}{{{', '.join(map(_go_syntax, node.value))}}}"
    if isinstance(node, yaml.MappingNode):
        pairs = (f"{_go_syntax(key)}:{_go_syntax(value)}" for key, value in node.value)
        return f"map[interface {{}}]interface {{}}{{{', '.join(pairs)}}}"
    return f'"{node.value}"'


def _first_node(loader: Any) -> Any:
    return loader.get_node() if loader.check_node() else None


def _duplicates(node: Any) -> Iterator[str]:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise YAMLError(f"yaml: invalid map key: {_go_syntax(key)}")
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
