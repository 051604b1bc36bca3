"""Request bodies: from JSON, YAML or protobuf to a typed object, with strict field checking when it is asked for."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from keelback.api.builtin import is_registered, is_registered_version
from keelback.apimachinery import codecs, errors, json_text, yaml
from keelback.apimachinery.meta import Kind, Object
from keelback.apiserver import yaml_bodies
from keelback.apiserver.context import RequestContext
from keelback.registry.strategy import Strategy

T = TypeVar("T", bound=Object)

_SHOWN_BYTES = 30
_SCHEME = 'in scheme "pkg/api/legacyscheme/scheme.go:30"'


class _TypeMeta(msgspec.Struct):
    kind: str | None = None
    api_version: str | None = msgspec.field(default=None, name="apiVersion")


_TYPE_META = msgspec.json.Decoder(_TypeMeta)


def as_json(context: RequestContext, kind_name: str) -> bytes:
    """A request's body as JSON. Raises UnsupportedMediaType, and BadRequest when it is not what it says it is."""
    return _read(context, kind_name)[0]


def _read(context: RequestContext, kind_name: str) -> tuple[bytes, list[str]]:
    """A request's body as JSON, and what YAML's decoder says of repeated keys."""
    body = context.request.body
    match context.media_type:
        case "application/json" | "text/json" | "*/*":
            try:
                return json_text.as_go_reads(body), []
            except json_text.TooDeep as error:
                problem = f"couldn't get version/kind; json parse error: {error}"
                raise _unrecognized(kind_name, problem, body) from error
        case media_type if media_type in yaml_bodies.TYPES:
            try:
                tree, duplicates = yaml_bodies.load(context)
                return msgspec.json.encode(tree), duplicates
            except yaml.YAMLError as error:
                raise _unrecognized(kind_name, str(error), body) from error
        case "application/vnd.kubernetes.protobuf":
            from keelback.apimachinery import protobuf

            try:
                return protobuf.to_json(body), []
            except protobuf.ProtobufError as error:
                raise _unrecognized(kind_name, str(error), body) from error
        case _:
            raise errors.UnsupportedMediaType(
                "the body of the request was in an unknown format - accepted media types include: "
                "application/json, application/yaml, application/vnd.kubernetes.protobuf"
            )


def decode(context: RequestContext, strategy: Strategy[T], field_validation: str) -> T:
    """The object in a request's body. Raises BadRequest in Kubernetes' words; adds warnings in Warn mode."""
    kind: Kind = strategy.kind.__kind__
    body = context.request.body
    body_json, duplicates = _read(context, kind.kind)
    _check_type(body_json, body, strategy)
    what = f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}'
    try:
        if body_json.strip() == b"null":
            body_json = b"{}"
        obj = strategy.decode_body(body_json)
    except codecs.DecodeError as error:
        raise errors.BadRequest(f"{what}: {error}") from error
    if field_validation != "Ignore" and "protobuf" not in context.media_type:
        try:
            found = [*_repeated_in_yaml(duplicates), *strategy.strict_errors_of_body(body_json)]
        except codecs.DecodeError as error:
            raise errors.BadRequest(f"{what}: {error}") from error
        if found and field_validation == "Strict":
            raise errors.BadRequest(f"{what}: strict decoding error: {', '.join(found)}")
        for one in found:
            context.warn(one)
    if context.audit is not None:
        # As upstream, which notes what it has understood: with kind and defaults, without unknown fields.
        context.audit.sent(obj, lambda: msgspec.json.encode(strategy.to_tree(strategy.default(obj))))
    return obj


def _repeated_in_yaml(duplicates: list[str]) -> list[str]:
    return ["yaml: unmarshal errors:\n  " + "\n  ".join(duplicates)] if duplicates else []


def _check_type(body_json: bytes, body: bytes, strategy: Strategy[Any]) -> None:
    kind: Kind = strategy.kind.__kind__
    try:
        found = _TYPE_META.decode(body_json) if body_json.strip() != b"null" else _TypeMeta()
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _undecodable(body_json, body, kind) from None
    name, version = found.kind or "", found.api_version or ""
    if not strategy.takes_strategic_merge_patches:
        return  # the strategy of custom resources says it in other words
    if name in ("", kind.kind) and version in ("", kind.api_version, *strategy.earlier_versions):
        return
    if version.count("/") > 1:
        raise _unrecognized(kind.kind, f"unexpected GroupVersion string: {version}", body)
    _refuse_type(name or kind.kind, version or kind.api_version, kind)


def _refuse_type(name: str, version: str, kind: Kind) -> None:
    short = version.rpartition("/")[2]
    what = f'{name} in version "{short}" cannot be handled as a {kind.kind}'
    if is_registered(version, name):
        if name == kind.kind:
            raise errors.BadRequest(
                f"the API version in the data ({version}) does not match the expected API version ({kind.api_version})"
            )
        package = {"": "core"}.get(kind.group, kind.group.partition(".")[0])
        raise errors.BadRequest(f"{what}: converting (v1.{name}) to ({package}.{kind.kind}): unknown conversion")
    if name == kind.kind and is_registered_version(version):
        raise errors.BadRequest(
            f"the API version in the data ({version}) does not match the expected API version ({kind.api_version})"
        )
    raise errors.BadRequest(f'{what}: no kind "{name}" is registered for version "{version}" {_SCHEME}')


def _undecodable(body_json: bytes, body: bytes, kind: Kind) -> errors.BadRequest:
    try:
        tree = codecs.loads(body_json)
    except codecs.DecodeError as error:
        return _unrecognized(kind.kind, f"couldn't get version/kind; json parse error: {error}", body)
    names = {list: "array", str: "string", bool: "bool", int: "number", float: "number"}
    if not isinstance(tree, dict):
        problem = (
            f"json: cannot unmarshal {names.get(type(tree), 'null')} into Go value of type struct {{ APIVersion string "
            '"json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
        )
    else:
        field = "kind" if not isinstance(tree.get("kind", ""), str | None) else "apiVersion"
        found = names.get(type(tree.get(field)), "object")
        problem = f"json: cannot unmarshal {found} into Go struct field .{field} of type string"
    return _unrecognized(kind.kind, f"couldn't get version/kind; json parse error: {problem}", body)


def _unrecognized(kind_name: str, problem: str, body: bytes) -> errors.BadRequest:
    return errors.BadRequest(
        f"the object provided is unrecognized (must be of type {kind_name}): {problem} ({_shown(body)})"
    )


def _shown(body: bytes) -> str:
    """A body's beginning as the original shows it: JSON objects as text, everything else in hexadecimal."""
    if not body:
        return "<empty>"
    is_text = body[:1] == b"{"
    if len(body) <= _SHOWN_BYTES:
        return body.decode("utf-8", "replace") if is_text else body.hex()
    return f"{body[:_SHOWN_BYTES].decode('utf-8', 'replace') if is_text else body[:_SHOWN_BYTES].hex()} ..."
