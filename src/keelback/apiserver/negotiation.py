"""Which form an answer takes: JSON, YAML or protobuf, the object itself, a Table or its metadata alone."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from keelback.apimachinery import codecs, protobuf_encoding, yaml
from keelback.apimachinery.errors import NotAcceptable, StatusError
from keelback.component.http import AnyResponse, Request, Response, parse_bool, query_values

# More than this nobody reads, and indenting it would hold up the requests of others.
_MOST_INDENTED_BYTES = 8 << 20
# Those that people read with, as upstream lists them.
_READERS = ("curl", "Wget", "Mozilla/5.0")

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"


class Accepted(msgspec.Struct, frozen=True):
    """A media type with the parameters that choose a transformation: `as=Table;g=meta.k8s.io;v=v1`."""

    media_type: str
    transform: str = ""
    transform_version: str = "v1"
    stream: bool = False


PLAIN = Accepted(JSON)
"""What those get who do not say what they want."""


class ToBeYAML(Response, frozen=True, gc=False):
    """An answer in JSON that was asked for in YAML: writing it takes time, and is the server's last step."""

    def written(self) -> Response:
        """The answer in YAML."""
        text = yaml.dump(msgspec.json.decode(self.content()))
        return Response(self.status, {**self.headers, "content-type": YAML}, text.encode())


@lru_cache(maxsize=512)
def negotiate(
    accept: str,
    *,
    has_message: bool = True,
    has_table: bool = True,
    is_routed: bool = True,
    streams: bool = False,
    is_metadata: bool = True,
) -> Accepted:
    """The best form of those a client accepts. Raises NotAcceptable when none can be given.

    Tables have no protobuf. Neither have custom resources (`has_message`), except for their metadata. What only answers
    a question makes no table (`has_table`), what is no object has no metadata (`is_metadata`). Upstream's routes of
    built-in kinds look at the header first (`is_routed`), and know of no wildcard but the one for everything; those of
    lists (`streams`) have watches, too.
    """
    if not accept or accept == "*/*" or accept == JSON:
        return PLAIN
    clauses = [split(clause) for clause in by_quality(accept)]
    if is_routed and not any(media_type in _ROUTED for media_type, _ in clauses):
        available = (JSON, YAML, PROTOBUF, *((f"{JSON};stream=watch", f"{PROTOBUF};stream=watch") if streams else ()))
        raise NotAcceptable(f"406: Not Acceptable\n\nAvailable representations: {', '.join(available)}")
    for media_type, parameters in clauses:
        for form in _MATCHED.get(media_type, ()):
            found = _with_parameters(form, parameters)
            if found is None or (found.transform and not is_metadata):
                continue
            if found.transform == "Table" and (not has_table or form == PROTOBUF):
                continue
            if form != PROTOBUF or has_message or found.transform:
                return found
    raise NotAcceptable(f"only the following media types are accepted: {JSON}, {YAML}, {PROTOBUF}")


_FORMS = (JSON, YAML, PROTOBUF)
_ROUTED = frozenset((*_FORMS, "*/*"))
_MATCHED = {**{form: (form,) for form in _FORMS}, "*/*": _FORMS, "application/*": _FORMS}
_TRANSFORMS = frozenset(("Table", "PartialObjectMetadata", "PartialObjectMetadataList"))


def _with_parameters(form: str, parameters: Mapping[str, str]) -> Accepted | None:
    """A form with what the parameters ask of it, None where they ask for something else."""
    stream = parameters.get("stream", "")
    if parameters.get("sv") or (stream and (stream != "watch" or form == YAML)):
        return None
    if parameters.keys().isdisjoint(("as", "g", "v")):
        return Accepted(form, stream=bool(stream))
    transform, version = parameters.get("as", ""), parameters.get("v", "")
    if transform not in _TRANSFORMS or parameters.get("g") != "meta.k8s.io" or version not in ("v1", "v1beta1"):
        return None
    return Accepted(form, transform, version)


def by_quality(accept: str) -> list[str]:
    """The clauses of an Accept header, the most wanted first."""
    clauses = [one.strip() for one in accept.split(",") if one.strip()]
    return sorted(clauses, key=lambda one: -_quality(one))


def _quality(clause: str) -> float:
    for part in clause.split(";")[1:]:
        name, _, value = part.strip().partition("=")
        if name == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def split(clause: str) -> tuple[str, dict[str, str]]:
    """A clause's media type and its parameters."""
    media_type, *parameters = (part.strip() for part in clause.split(";"))
    return media_type, dict(one.split("=", 1) for one in parameters if "=" in one)


def wants_indentation(request: Request) -> bool:
    """Whether a person will read the answer: they say so with `pretty`, or use a browser, curl or Wget."""
    if "pretty" in request.query:
        wanted = query_values(request.query).get("pretty", "")
        if wanted:
            try:
                return parse_bool(wanted)
            except ValueError:
                return False
    headers = request.headers
    return headers.get("user-agent", "").startswith(_READERS) or "pretty=1" in headers.get("accept", "")


def indented(response: AnyResponse) -> AnyResponse:
    """A complete answer in JSON with line breaks; any other as it is."""
    if type(response) is not Response or response.headers.get("content-type") != JSON:
        return response
    size = len(response.body) if isinstance(response.body, bytes) else sum(map(len, response.body))
    if not 0 < size <= _MOST_INDENTED_BYTES:
        return response
    return Response(response.status, response.headers, msgspec.json.format(response.content(), indent=2))


def warning_header(warnings: list[str]) -> str:
    """The values of the Warning headers, a line each: code 299, no agent, the text quoted (RFC 7234)."""
    return "\n".join(f'299 - "{_escaped(one)}"' for one in warnings)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")


def respond(status: int, wire: Any, accepted: Accepted = PLAIN, *, warnings: list[str] | None = None) -> Response:
    """A response from an object in JSON (one piece or several), in YAML or protobuf when that was asked for."""
    if accepted.media_type == PROTOBUF:
        whole = wire if isinstance(wire, bytes) else b"".join(wire)
        return respond_protobuf(status, protobuf_encoding.from_json(whole), warnings=warnings)
    headers = {"content-type": JSON, "cache-control": "no-cache, private"}
    if warnings:
        headers["warning"] = warning_header(warnings)
    return Response(status, headers, wire) if accepted.media_type != YAML else ToBeYAML(status, headers, wire)


def respond_protobuf(status: int, body: Any, *, warnings: list[str] | None = None) -> Response:
    """A response from an object in protobuf (one piece or several)."""
    headers = {"content-type": PROTOBUF, "cache-control": "no-cache, private"}
    if warnings:
        headers["warning"] = warning_header(warnings)
    return Response(status, headers, body)


def respond_error(error: StatusError, accept: str = "", *, warnings: list[str] | None = None) -> Response:
    """The Status of a failure, in the client's form where it has one we know."""
    try:
        accepted = negotiate(accept, is_routed=False, is_metadata=False)
    except NotAcceptable:
        # What cannot be said as it was asked for must be said nevertheless.
        accepted = PLAIN
    response = respond(error.code, codecs.encode(error.status), accepted, warnings=warnings)
    details = error.status.details
    if details is not None and details.retry_after_seconds:
        return Response(
            response.status, {**response.headers, "retry-after": str(details.retry_after_seconds)}, response.body
        )
    return response
