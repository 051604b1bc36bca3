"""YAML as Kubernetes reads it: YAML 1.1 booleans, no timestamps, string keys, duplicate keys noticed."""

from __future__ import annotations

from typing import Any

import msgspec

from keelback.apimachinery import json_text


class YAMLError(Exception):
    """The text is not YAML; the message is worded as go-yaml words it."""


def load(text: bytes | str) -> tuple[Any, list[str]]:
    """The first document as a JSON tree, and what go-yaml says of duplicate keys. Raises YAMLError."""
    plain = _plain_json(text)
    if plain is not None:
        return plain, []
    # PyYAML takes a megabyte, and most clients speak JSON.
    from keelback.apimachinery import yaml_documents

    return yaml_documents.load(text)


def dump(tree: Any) -> str:
    """A JSON tree as YAML with sorted keys, as the original prints it."""
    from keelback.apimachinery import yaml_documents

    return yaml_documents.dump(tree)


def _plain_json(text: bytes | str) -> Any:
    """The tree of a text that is compact JSON, as kubectl and other programs send it; None for any other.

    Such JSON means the same as YAML, and that encoding it gives the same bytes shows that no key is repeated.
    """
    if not isinstance(text, bytes) or text[:1] != b"{" or not text.isascii() or b"\x7f" in text:
        return None
    if text.count(b"{") + text.count(b"[") > json_text.DEEPEST:
        return None
    try:
        tree = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None
    return tree if msgspec.json.encode(tree) == text.rstrip(b"\n") else None
