"""/statusz and /flagz: what a server is and how it was started, as text or as an object (KEP-4827, KEP-4828).

The text is for people: its delimiter changes so that no program reads it. A program asks for the kind by name.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from keelback.apimachinery import errors
from keelback.apiserver.context import RequestContext
from keelback.apiserver.negotiation import JSON, YAML, Accepted, by_quality, respond, split
from keelback.apiserver.routes import Route
from keelback.component.http import AnyResponse, text_response

COMPONENT: Final = "kube-apiserver"
SINCE_MINOR: Final = 36
"""The Kubernetes minor version that serves them without being asked."""

_GROUP: Final = "config.k8s.io"
_VERSIONS: Final = ("v1alpha1", "v1beta1")
_DELIMITERS: Final = (":", ": ", "=", " ")
_HEADER: Final = (
    "\n{component} {page}\nWarning: This endpoint is not meant to be machine parseable, has no formatting "
    "compatibility guarantees and is for debugging purposes only.\n"
)
# The API itself is no page for debugging.
_LEFT_OUT: Final = frozenset({"apis", "api", "openid", "openapi", ".well-known"})


def statusz(
    started: datetime, now: Callable[[], datetime], versions: tuple[str, str], paths: Callable[[], Iterable[str]]
) -> Route:
    """`versions` are that of the language and that of Kubernetes; `paths` all that the server lists."""

    def status() -> dict[str, Any]:
        return {
            "startTime": f"{started:%Y-%m-%dT%H:%M:%SZ}",
            "uptimeSeconds": max(0, int((now() - started).total_seconds())),
            "goVersion": versions[0],
            "binaryVersion": versions[1],
            "emulationVersion": versions[1],
            "paths": sorted({f"/{first}" for path in paths() if (first := _first(path)) not in _LEFT_OUT}),
        }

    def text(delimiter: str) -> str:
        shown = status()
        up = shown["uptimeSeconds"]
        lines = {
            "Started": f"{started:%a %b} {started.day:2} {started:%H:%M:%S UTC %Y}",
            "Up": f"{up // 3600} hr {up // 60 % 60:02} min {up % 60:02} sec",
            "Go version": shown["goVersion"],
            "Binary version": shown["binaryVersion"],
            "Emulation version": shown["emulationVersion"],
            "Paths": " ".join(shown["paths"]),
        }
        return "\n" + "".join(f"{name}{delimiter} {value}\n" for name, value in lines.items())

    return _page("Statusz", status, text)


def flagz(flags: Mapping[str, str]) -> Route:
    """`flags` are all the flags with their values, those of the defaults too."""

    def text(delimiter: str) -> str:
        return "".join(f"{name}{delimiter}{value}\n" for name, value in sorted(flags.items()))

    return _page("Flagz", lambda: {"flags": dict(flags)} if flags else {}, text)


def _first(path: str) -> str:
    return path.split("/")[1] if path.startswith("/") and len(path) > 1 else ".well-known"


def _page(kind: str, content: Callable[[], dict[str, Any]], text: Callable[[str], str]) -> Route:
    delimiters = itertools.cycle(_DELIMITERS)

    async def answer(context: RequestContext) -> AnyResponse:
        accepted = _accepted(context.request.headers.get("accept", ""), kind)
        if accepted is None:
            header = _HEADER.format(component=COMPONENT, page=kind.lower())
            return text_response(header + text(next(delimiters)))
        made = {
            "kind": kind,
            "apiVersion": f"{_GROUP}/{accepted.transform_version}",
            "metadata": {"name": COMPONENT},
            **content(),
        }
        return respond(200, msgspec.json.encode(made), accepted)

    return answer


def _accepted(accept: str, kind: str) -> Accepted | None:
    """The form of the object that was asked for, None for text. Raises NotAcceptable."""
    if not accept.strip():
        return None
    for clause in by_quality(accept):
        media_type, parameters = split(clause)
        transform, version = parameters.get("as", ""), parameters.get("v", "")
        if not transform and media_type in ("text/plain", "text/*", "*/*"):
            return None
        if (transform, parameters.get("g")) != (kind, _GROUP) or version not in _VERSIONS:
            continue
        if media_type in (JSON, YAML, "application/*", "*/*"):
            return Accepted(YAML if media_type == YAML else JSON, transform, version)
    raise errors.NotAcceptable(
        "only the following media types are accepted: application/json, application/yaml, "
        "application/vnd.kubernetes.protobuf, text/plain"
    )
