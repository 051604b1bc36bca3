"""Which form an answer takes: JSON, YAML or protobuf, the object itself, a Table or its metadata alone."""

from __future__ import annotations

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


_DEFAULT = Accepted(JSON)


class ToBeYAML(Response, frozen=True, gc=False):
    """An answer in JSON that was asked for in YAML: writing it takes time, and is the server's last step."""

    def written(self) -> Response:
        """The answer in YAML."""
        text = yaml.dump(msgspec.json.decode(self.content()))
        return Response(self.status, {**self.headers, "content-type": YAML}, text.encode())


@lru_cache(maxsize=512)
def negotiate(accept: str, *, has_message: bool = True, has_table: bool = True) -> Accepted:
    """The best form of those a client accepts. Raises NotAcceptable when none can be given.

    Tables have no protobuf. Neither have custom resources (`has_message`), except for their metadata. What only answers
    a question makes no table (`has_table`).
    """
    if not accept or accept == "*/*" or accept == JSON:
        return _DEFAULT
    for clause in _by_quality(accept):
        media_type, parameters = _split(clause)
        transform = parameters.get("as", "")
        if transform and parameters.get("g", "meta.k8s.io") == "meta.k8s.io":
            version = parameters.get("v", "v1")
            known = transform in ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")
            if not known or version not in ("v1", "v1beta1") or (transform == "Table" and not has_table):
                continue
            if media_type == PROTOBUF and transform != "Table":
                return Accepted(PROTOBUF, transform, version)
            if media_type in (JSON, YAML, "*/*", "application/*"):
                return Accepted(YAML if media_type == YAML else JSON, transform, version)
            continue
        if media_type in (JSON, "*/*", "application/*"):
            return Accepted(JSON, stream=parameters.get("stream") == "watch")
        if media_type == PROTOBUF and has_message and not transform:
            return Accepted(PROTOBUF, stream=parameters.get("stream") == "watch")
        if media_type in (YAML, "text/yaml", "application/x-yaml"):
            return Accepted(YAML)
    if has_table and any("as=" in one for one in accept.split(",")):
        raise NotAcceptable(
            "only the following media types are accepted: application/json;as=Table;g=meta.k8s.io;v=v1, "
            "application/yaml;as=Table;g=meta.k8s.io;v=v1, "
            "application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1"
        )
    raise NotAcceptable(
        "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, "
        "application/vnd.kubernetes.protobuf"
    )


def _by_quality(accept: str) -> list[str]:
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


def _split(clause: str) -> tuple[str, dict[str, str]]:
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


def respond(status: int, wire: Any, accepted: Accepted = _DEFAULT, *, warnings: list[str] | None = None) -> Response:
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
        accepted = negotiate(accept)
    except NotAcceptable:
        accepted = Accepted(YAML) if YAML in accept else _DEFAULT
        if accept.startswith(PROTOBUF):
            accepted = Accepted(PROTOBUF)
    response = respond(error.code, codecs.encode(error.status), accepted, warnings=warnings)
    details = error.status.details
    if details is not None and details.retry_after_seconds:
        return Response(
            response.status, {**response.headers, "retry-after": str(details.retry_after_seconds)}, response.body
        )
    return response
