"""Continue tokens, as upstream writes them: where a list goes on, and at which revision."""

from __future__ import annotations

import base64
import binascii
import posixpath

import msgspec

from keelback.apimachinery.errors import BadRequest

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
        raw = base64.b64decode(text.encode() + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        token = msgspec.json.decode(raw, type=_Token)
    except (binascii.Error, ValueError) as error:
        raise BadRequest("continue key is not valid: malformed value") from error
    if token.v != "meta.k8s.io/v1":
        raise BadRequest("continue key is not valid: server does not recognize this encoded version")
    if token.rv == 0:
        raise BadRequest("continue key is not valid: incorrect encoded start resourceVersion (version meta.k8s.io/v1)")
    if not token.start:
        raise BadRequest("continue key is not valid: encoded start key empty (version meta.k8s.io/v1)")
    # A token must not lead out of the scope of its list.
    start = token.start.removeprefix("/")
    if start.startswith("/") or posixpath.normpath("/" + start) != "/" + start:
        raise BadRequest(f"continue key is not valid: {token.start}")
    return token.rv, start
