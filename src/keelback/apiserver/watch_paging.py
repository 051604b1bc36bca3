"""Continue tokens, as upstream writes them: where a list goes on, and at which revision."""

from __future__ import annotations

import base64
import json
import posixpath
import re

import msgspec

from keelback.apimachinery import json_syntax
from keelback.apimachinery.errors import BadRequest

_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9_-]")

INEXACT = -1
"""The revision of a token that goes on at the newest state, after its own has expired."""

TOO_OLD_LIST = "The resourceVersion for the provided list is too old."
TOO_OLD_CONTINUE = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)


class _Token(msgspec.Struct):
    v: str = ""
    rv: int = 0
    start: str = ""


def encode_continue(revision: int, start: str) -> str:
    """`start` is relative to the scope of the list."""
    token = msgspec.json.encode(_Token("meta.k8s.io/v1", revision, start))
    return base64.urlsafe_b64encode(token).rstrip(b"=").decode()


def decode_continue(text: str) -> tuple[int, str]:
    """Revision and start. Raises BadRequest with upstream's words."""
    try:
        return _decoded(text)
    except ValueError as error:
        raise BadRequest(f"invalid continue token: continue key is not valid: {error}") from error


def _decoded(text: str) -> tuple[int, str]:
    token = _token(_from_base64(text))
    if token.v != "meta.k8s.io/v1":
        raise ValueError(f"server does not recognize this encoded version {token.v}")
    if token.rv == 0:
        raise ValueError("incorrect encoded start resourceVersion (version meta.k8s.io/v1)")
    if not token.start:
        raise ValueError("encoded start key empty (version meta.k8s.io/v1)")
    # A token must not lead out of the scope of its list.
    start = token.start.removeprefix("/")
    if start.startswith("/") or posixpath.normpath("/" + start) != "/" + start:
        raise ValueError(token.start)
    return token.rv, start


def _token(raw: bytes) -> _Token:
    try:
        return msgspec.json.decode(raw, type=_Token)
    except ValueError as error:
        raise ValueError(json_syntax.complaint(raw) or _misfit(raw)) from error


def _misfit(raw: bytes) -> str:
    """What Go says of JSON that is no token."""
    tree = json.loads(raw)
    if not isinstance(tree, dict):
        return f"json: cannot unmarshal {_KINDS[type(tree)]} into Go value of type storage.continueToken"
    for name, kind, go_kind in (("v", str, "string"), ("rv", int, "int64"), ("start", str, "string")):
        value = tree.get(name)
        if value is not None and type(value) is not kind:
            shown = f"number {value}" if isinstance(value, float) else _KINDS[type(value)]
            return f"json: cannot unmarshal {shown} into Go struct field continueToken.{name} of type {go_kind}"
    return "json: cannot unmarshal number into Go struct field continueToken.rv of type int64"


_KINDS = {
    str: "string",
    int: "number",
    float: "number",
    bool: "bool",
    list: "array",
    dict: "object",
    type(None): "null",
}


def _from_base64(text: str) -> bytes:
    """URL-safe base64 without padding. Raises ValueError that says where it is broken, as Go does."""
    data = text.encode().replace(b"\n", b"").replace(b"\r", b"")
    if (odd := _NOT_BASE64.search(data)) is not None:
        raise ValueError(f"illegal base64 data at input byte {odd.start()}")
    if len(data) % 4 == 1:
        raise ValueError(f"illegal base64 data at input byte {len(data) - 1}")
    return base64.urlsafe_b64decode(data + b"=" * (-len(data) % 4))
