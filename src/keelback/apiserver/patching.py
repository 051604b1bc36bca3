"""The four patch types of PATCH: from a request's body to a function over the object as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from keelback.apimachinery import apply as server_side_apply
from keelback.apimachinery import codecs, errors, json_patch, merge_patch, scalar_conversion, strategic_merge, yaml
from keelback.apimachinery.meta import StatusDetails, make_kind, with_metadata
from keelback.apimachinery.shapes import shape_of
from keelback.apiserver import touched_parts, yaml_bodies
from keelback.apiserver.context import RequestContext
from keelback.component.http import query_flag
from keelback.registry.builtin import strategies
from keelback.registry.strategy import Strategy

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"

_NO_KIND = make_kind("v1", "", "", namespaced=False)


@dataclass(frozen=True, slots=True)
class ParsedPatch:
    """A patch that can be carried out on any version of the object, again and again. `apply(None)` is an apply that
    creates."""

    apply: Callable[[Any], Any]
    is_apply: bool = False


def parse(
    context: RequestContext, strategy: Strategy[Any], field_validation: str, subresource: str = ""
) -> ParsedPatch:
    """Read the patch in a request's body. Raises UnsupportedMediaType and BadRequest."""
    patch = _parsed(context, strategy, field_validation, subresource)
    if context.audit is not None and context.media_type != yaml_bodies.APPLY:
        context.audit.sent_text(context.request.body)
    return patch


def _parsed(context: RequestContext, strategy: Strategy[Any], field_validation: str, subresource: str) -> ParsedPatch:
    content_type = context.media_type
    is_custom = not strategy.takes_strategic_merge_patches
    if content_type == yaml_bodies.APPLY:
        return _parse_apply(context, strategy, field_validation, subresource)
    if content_type == JSON_PATCH:
        return _parse_json_patch(context, strategy, field_validation)
    if content_type == MERGE_PATCH:
        return _parse_merge_patch(context, strategy, field_validation)
    if content_type == STRATEGIC_MERGE_PATCH and not is_custom:
        return _parse_strategic(context, strategy, field_validation)
    if is_custom:
        raise errors.UnsupportedMediaType(
            "the body of the request was in an unknown format - accepted media types include: "
            f"{JSON_PATCH}, {MERGE_PATCH}, {yaml_bodies.APPLY}"
        )
    raise errors.UnsupportedMediaType("415: Unsupported Media Type", details=StatusDetails())


_KINDS: Mapping[type, str] = {
    dict: "object",
    codecs.Duplicated: "object",
    list: "array",
    str: "string",
    bool: "bool",
    int: "number",
    float: "number",
}
"""What Go's decoder calls values that are no objects."""


def unconditional(new: Any, old: Any) -> Any:
    """The patched object without the version it was read at: a patch that names none may be tried again."""
    if new.metadata.resource_version == old.metadata.resource_version:
        return with_metadata(new, resource_version="")
    return new


def _loaded(context: RequestContext) -> Any:
    try:
        return codecs.marked_tree(context.request.body)
    except codecs.DecodeError as error:
        raise errors.BadRequest(f"error decoding patch: {error}") from error


def _parse_json_patch(context: RequestContext, strategy: Strategy[Any], field_validation: str) -> ParsedPatch:
    operations = _operations(_loaded(context))

    def apply(old: Any) -> Any:
        tree = strategy.to_tree(old)
        try:
            patched = json_patch.apply(tree, operations)
        except json_patch.TooManyOperations as error:
            raise errors.RequestEntityTooLarge(str(error)) from error
        except json_patch.JSONPatchError as error:
            raise errors.Invalid(
                "the server rejected our request due to an error in our request", details=StatusDetails()
            ) from error
        return _typed(context, strategy, patched, field_validation, _paths(operations))

    return ParsedPatch(apply)


def _operations(tree: Any) -> list[dict[str, Any]]:
    """Raises BadRequest for what is no list of operations."""
    into = "error decoding patch: json: cannot unmarshal {} into Go {}"
    if tree is None:
        return []
    if not isinstance(tree, list):
        raise errors.BadRequest(into.format(_KINDS[type(tree)], "value of type []handlers.jsonPatchOp"))
    for operation in tree:
        if operation is not None and not isinstance(operation, dict):
            raise errors.BadRequest(into.format(_KINDS[type(operation)], "value of type handlers.jsonPatchOp"))
        for name in ("op", "path", "from"):
            value = (operation or {}).get(name)
            if value is not None and not isinstance(value, str):
                field = f"struct field jsonPatchOp.{name} of type string"
                raise errors.BadRequest(into.format(_KINDS[type(value)], field))
    return [operation or {} for operation in tree]


def _paths(operations: list[Any]) -> dict[str, Any]:
    """Where a JSON patch looks, as a tree."""
    touched: dict[str, Any] = {}
    for operation in operations:
        for name in ("path", "from"):
            below = touched
            for part in str(operation.get(name, "")).split("/")[1:-1]:
                below = below.setdefault(part.replace("~1", "/").replace("~0", "~"), {})
    return touched


def _parse_merge_patch(context: RequestContext, strategy: Strategy[Any], field_validation: str) -> ParsedPatch:
    patch = _loaded(context)
    if patch is None:
        raise errors.BadRequest("Invalid JSON Patch")
    if not isinstance(patch, dict):
        raise errors.BadRequest(
            f"error decoding patch: json: cannot unmarshal {_KINDS[type(patch)]} into Go value of type "
            "map[string]interface {}"
        )
    repeated = _repeated(patch)

    def apply(old: Any) -> Any:
        patched = merge_patch.merge(strategy.to_tree(old), patch)
        return _typed(context, strategy, patched, field_validation, patch, repeated)

    return ParsedPatch(lambda old: touched_parts.patched(old, patch, apply))


def _parse_strategic(context: RequestContext, strategy: Strategy[Any], field_validation: str) -> ParsedPatch:
    body = context.request.body
    try:
        patch = codecs.marked_tree(body)
    except codecs.DecodeError as error:
        raise errors.BadRequest(str(error)) from error
    if patch is None:
        patch = {}
    if not isinstance(patch, dict):
        raise errors.BadRequest(
            f"json: cannot unmarshal {_KINDS[type(patch)]} into Go value of type map[string]interface {{}}"
        )
    unknown = strategy.strict_errors(patch) if field_validation != "Ignore" else []
    unknown = [one for one in unknown if "$" not in one]
    # An escape may spell a dollar sign.
    is_plain = not any(one in body for one in (b"$", b"null", b"\\"))
    is_exact = _is_exact(body, patch)

    def apply(old: Any) -> Any:
        if unknown and field_validation == "Strict":
            raise _undecodable(strategic_merge.go_printed(patch), f"strict decoding error: {', '.join(unknown)}")
        for one in unknown:
            context.warn(one)
        try:
            patched = strategic_merge.merge(strategy.to_tree(old), patch, strategy.schema(), is_plain=is_plain)
        except strategic_merge.BadPatch as error:
            raise errors.BadRequest(str(error)) from error
        except strategic_merge.StrategicMergeError as error:
            raise errors.StatusError(str(error), code=500) from error
        try:
            return _converted(strategy, patched, is_exact=is_exact)
        except (codecs.DecodeError, scalar_conversion.ConversionError) as error:
            raise _undecodable(strategic_merge.go_printed(patch), str(error)) from error

    return ParsedPatch(lambda old: apply(old) if unknown else touched_parts.patched(old, patch, apply))


def _converted(strategy: Strategy[Any], patched: Any, *, is_exact: bool) -> Any:
    """The object of a strategically merged tree. Raises DecodeError and ConversionError."""
    if is_exact:
        try:
            # What JSON makes an object of without converting any number is made into the same by Go's converter.
            return strategy.from_tree(patched)
        except codecs.DecodeError:
            pass
    problem = strategic_merge.conversion_error(patched, strategy.schema())
    if problem:
        raise scalar_conversion.ConversionError(problem)
    return strategy.from_tree(scalar_conversion.converted(patched, shape_of(strategy.kind)))


class _FloatFound(Exception):
    """There is a number that is no integer, or is not written as one."""


def _float_found(text: str) -> float:
    raise _FloatFound


_without_floats: Final = msgspec.json.Decoder(float_hook=_float_found)


def _is_exact(body: bytes, patch: Any) -> bool:
    """Whether no number of a patch has to be converted."""
    try:
        _without_floats.decode(body)
    except (_FloatFound, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return not _has_float(patch)
    return True


def _has_float(tree: Any) -> bool:
    if isinstance(tree, dict):
        return any(map(_has_float, tree.values()))
    return any(map(_has_float, tree)) if isinstance(tree, list) else isinstance(tree, float)


def _typed(
    context: RequestContext,
    strategy: Strategy[Any],
    patched: Any,
    field_validation: str,
    touched: dict[str, Any],
    repeated: tuple[str, ...] = (),
) -> Any:
    kind = strategy.kind.__kind__
    found = strategy.strict_errors(patched) if field_validation != "Ignore" else []
    found = [*repeated, *found] if field_validation != "Ignore" else []
    if found and field_validation == "Strict":
        raise _undecodable(_printed(patched, touched), f"strict decoding error: {', '.join(found)}")
    for one in found:
        context.warn(one)
    if isinstance(patched, dict) and (patched.get("kind"), patched.get("apiVersion")) != (kind.kind, kind.api_version):
        raise _undecodable(
            _printed(patched, touched),
            _problem_of_other_kind(patched)
            or f'no kind "{patched.get("kind", "")}" is registered for version "{patched.get("apiVersion", "")}" '
            'in scheme "pkg/api/legacyscheme/scheme.go:30"',
        )
    try:
        return strategy.from_tree(patched)
    except codecs.DecodeError as error:
        raise _undecodable(_printed(patched, touched), str(error)) from error


def _problem_of_other_kind(patched: dict[str, Any]) -> str:
    """What is wrong with a patched object that has become another built-in kind; nothing if there is no such kind."""
    given = patched.get("kind"), patched.get("apiVersion")
    for other in strategies():
        if (other.kind.__kind__.kind, other.kind.__kind__.api_version) == given:
            try:
                other.from_tree(patched)
            except codecs.DecodeError as error:
                return str(error)
            return f"converting to {given[0]}: unknown conversion"
    return ""


def _repeated(patch: Any, path: str = "") -> tuple[str, ...]:
    if not isinstance(patch, dict):
        return ()
    here = patch.repeated if isinstance(patch, codecs.Duplicated) else ()
    found = [f'duplicate field "{path}{key}"' for key in here]
    for key, value in patch.items():
        found.extend(_repeated(value, f"{path}{key}."))
    return tuple(found)


def _printed(tree: Any, touched: dict[str, Any]) -> str:
    """A patched object as messages show it: sorted where the patch touched it."""
    if isinstance(tree, dict) and isinstance(metadata := tree.get("metadata"), dict):
        tree = {**tree, "metadata": {key: _sorted(value) for key, value in metadata.items()}}
    return msgspec.json.encode(_sorted_where(tree, touched)).decode()


def _sorted(value: Any) -> Any:
    """Part of the metadata with its maps sorted, as Go prints them; the entries of managedFields keep their order."""
    if isinstance(value, dict):
        return {key: _sorted(one) for key, one in sorted(value.items())}
    if isinstance(value, list):
        return [{k: _sorted(v) for k, v in one.items()} if isinstance(one, dict) else one for one in value]
    return value


def _sorted_where(tree: Any, touched: Any) -> Any:
    if not isinstance(tree, dict) or not isinstance(touched, dict):
        return tree
    return {key: _sorted_where(value, touched.get(key)) for key, value in sorted(tree.items())}


def _undecodable(value: str, problem: str) -> errors.Invalid:
    return errors.Invalid.of(_NO_KIND, "", [errors.invalid("patch", value, problem)])


def _parse_apply(
    context: RequestContext, strategy: Strategy[Any], field_validation: str, subresource: str
) -> ParsedPatch:
    kind = strategy.kind.__kind__
    manager = context.query.get("fieldManager", "")
    if not manager:
        problem = errors.required("fieldManager", "is required for apply patch")
        raise errors.Invalid.of(make_kind("meta.k8s.io/v1", "PatchOptions", "patchoptions"), "", [problem])
    force = query_flag(context.query.get("force"))
    try:
        patch, duplicates = yaml_bodies.load(context)
    except yaml.YAMLError as error:
        raise errors.BadRequest(f"error decoding YAML: error converting YAML to JSON: {error}") from error
    if patch is not None and not isinstance(patch, dict):
        told = "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal"
        raise errors.BadRequest(f"{told} {_KINDS[type(patch)]} into Go value of type map[string]interface {{}}")
    if not patch or not patch.get("kind") or not patch.get("apiVersion"):
        given = patch or {}
        raise errors.BadRequest(
            f"invalid object type: {given.get('apiVersion', '') or '/'}, Kind={given.get('kind', '')}"
        )
    if field_validation == "Warn":
        for one in duplicates:
            context.warn(one)
    server_side_apply.check_type(patch, kind)
    if context.audit is not None:
        context.audit.sent_text(msgspec.json.encode(patch))

    def apply(old: Any) -> Any:
        live = None if old is None else strategy.to_tree(old)
        applied = dict(patch)
        metadata = patch.get("metadata")
        wanted_uid = metadata.get("uid") if isinstance(metadata, dict) else None
        if live is None and wanted_uid:
            raise errors.Conflict.of(
                kind,
                context.info.name,
                f"uid mismatch: the provided object specified uid {wanted_uid}, and no existing object was found",
            )
        merged = server_side_apply.apply(
            live,
            applied,
            manager=manager,
            force=force,
            schema=strategy.schema(),
            subresource=subresource,
            now=context.now,
            reset_fields=strategy.not_written_by(subresource),
        )
        if duplicates and field_validation == "Strict":
            told = "\n  ".join(duplicates)
            raise errors.BadRequest(
                f"error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  {told}"
            )
        try:
            return strategy.from_tree(merged)
        except codecs.DecodeError as error:
            raise errors.StatusError(str(error), code=500) from error

    return ParsedPatch(apply, is_apply=True)
