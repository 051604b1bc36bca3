"""The query options of requests, checked as Kubernetes checks them: CreateOptions, ListOptions and their like."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import msgspec

from keelback.apimachinery import codecs, errors, fields, go_numbers, labels, validation
from keelback.apimachinery.meta import DeleteOptions, Kind, make_kind
from keelback.apiserver import bodies
from keelback.apiserver.context import RequestContext
from keelback.apiserver.deletion import Deletion
from keelback.apiserver.watch_cache import ListOptions, WatchOptions
from keelback.apiserver.watch_selection import Selection
from keelback.component.http import IN_PROCESS, parse_query, query_flag
from keelback.registry.strategy import Strategy

_LONGEST_WATCH = 10**9
FIELD_VALIDATIONS = ("", "Ignore", "Strict", "Warn")


class WriteOptions(msgspec.Struct, frozen=True):
    """What create, update and patch have in common."""

    dry_run: bool = False
    field_validation: str = "Warn"


def _options_kind(name: str) -> Kind:
    return make_kind("meta.k8s.io/v1", name, name.lower(), namespaced=False)


def write_options(
    context: RequestContext, kind_name: Literal["CreateOptions", "UpdateOptions", "PatchOptions"]
) -> WriteOptions:
    """The options of a write. Raises Invalid, naming the options as the kind that is invalid."""
    if not context.request.query:
        return WriteOptions()
    problems: list[errors.FieldError] = []
    query = context.query
    if kind_name == "PatchOptions" and "force" in query and not _is_apply(context):
        problems.append(errors.forbidden("force", "may not be specified for non-apply patch"))
    dry_run = _dry_run(context, problems)
    manager = query.get("fieldManager", "")
    if manager:
        problems.extend(validation.field_manager(manager, "fieldManager"))
    field_validation = query.get("fieldValidation", "")
    if field_validation not in FIELD_VALIDATIONS:
        problems.append(errors.not_supported("fieldValidation", field_validation, FIELD_VALIDATIONS))
    if problems:
        raise errors.Invalid.of(_options_kind(kind_name), "", problems)
    return WriteOptions(dry_run, field_validation or "Warn")


def _is_apply(context: RequestContext) -> bool:
    return context.media_type.startswith("application/apply-patch+")


def _dry_run(context: RequestContext, problems: list[errors.FieldError]) -> bool:
    given = [value for name, value in parse_query(context.request.query) if name == "dryRun"]
    if given and given != ["All"]:
        problems.append(errors.not_supported("dryRun", given, ("All",)))
    return bool(given)


def deletion(context: RequestContext) -> tuple[Deletion, bool]:
    """The options of a delete, from its body or its query, and whether it is a dry run."""
    body = context.request.body
    given = DeleteOptions()
    if body:
        given = _decoded_delete_options(context)
    query = context.query
    problems: list[errors.FieldError] = []
    grace = given.grace_period_seconds
    if not body and "gracePeriodSeconds" in query:
        grace = _int(query["gracePeriodSeconds"])
    policy = given.propagation_policy if body else query.get("propagationPolicy")
    orphan = given.orphan_dependents
    if not body and "orphanDependents" in query:
        orphan = query_flag(query["orphanDependents"])
    if given.dry_run and given.dry_run != ("All",):
        problems.append(errors.not_supported("dryRun", list(given.dry_run), ("All",)))
    dry_run = bool(given.dry_run) or _dry_run(context, problems)
    if policy is not None and orphan is not None:
        problems.append(
            errors.invalid("propagationPolicy", policy, "orphanDependents and deletionPropagation cannot be both set")
        )
    elif policy is not None and policy not in ("Foreground", "Background", "Orphan"):
        problems.append(
            errors.FieldError(
                "propagationPolicy",
                errors.NOT_SUPPORTED,
                'supported values: "Foreground", "Background", "Orphan", "nil"',
                policy,
            )
        )
    if problems:
        raise errors.Invalid.of(_options_kind("DeleteOptions"), "", problems)
    preconditions = given.preconditions
    return (
        Deletion(
            grace_period_seconds=grace,
            propagation_policy=policy,
            orphan_dependents=orphan,
            uid=preconditions.uid if preconditions else None,
            resource_version=preconditions.resource_version if preconditions else None,
        ),
        dry_run,
    )


class _TypeMeta(msgspec.Struct):
    kind: str = ""
    api_version: str = msgspec.field(default="", name="apiVersion")


def _decoded_delete_options(context: RequestContext) -> DeleteOptions:
    body = bodies.as_json(context, "DeleteOptions")
    try:
        tree = codecs.loads(body)
        meta = msgspec.convert(tree, _TypeMeta)
        if meta.kind and meta.kind != "DeleteOptions":
            raise errors.BadRequest(
                f'no kind "{meta.kind}" is registered for version "{meta.api_version}" in scheme '
                '"k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27"'
            )
        decoded = codecs.convert(DeleteOptions, tree or {})
    except codecs.DecodeError as error:
        raise errors.BadRequest(f"couldn't get version/kind; json parse error: {error}") from error
    except msgspec.ValidationError as error:
        raise errors.BadRequest(f"couldn't get version/kind; json parse error: {error}") from error
    if context.audit is not None:
        known = {"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1"}
        context.audit.sent_text(msgspec.json.encode({**known, **(tree or {})}))
    return decoded


def list_options(context: RequestContext, strategy: Strategy[Any]) -> ListOptions:
    """The options of a list. Raises BadRequest and Invalid."""
    query = context.query
    if not query and not context.info.name:
        return ListOptions(namespace=context.info.namespace)
    version = query.get("resourceVersion", "")
    match = query.get("resourceVersionMatch", "")
    _check_version_match(query, version, match, "ListOptions")
    _int(query.get("timeoutSeconds", ""))
    return ListOptions(
        namespace=context.info.namespace,
        labels=label_selection(query.get("labelSelector", "")),
        fields=field_selection(query.get("fieldSelector", ""), strategy),
        limit=max(0, _int(query.get("limit", "")) or 0),
        continue_=query.get("continue", ""),
        resource_version=_listed_version(version) if version else None,
        resource_version_match=match,  # type: ignore[arg-type]
    )


def watch_options(context: RequestContext, strategy: Strategy[Any]) -> WatchOptions:
    """The options of a watch. Raises BadRequest, Invalid, and the bare 500 that a non-numeric version gives."""
    query = context.query
    version = query.get("resourceVersion", "")
    match = query.get("resourceVersionMatch", "")
    initial = query.get("sendInitialEvents")
    _check_watch(query, match, initial)
    return WatchOptions(
        # A path that goes on from /watch/namespaces/NAME is below that namespace, but this one does not.
        namespace=context.info.namespace if strategy.kind.__kind__.namespaced else "",
        labels=label_selection(query.get("labelSelector", "")),
        fields=field_selection(_named(context, query.get("fieldSelector", "")), strategy),
        resource_version=version_number(version) if version else None,
        send_initial_events=None if initial is None else query_flag(initial),
        allow_bookmarks=query_flag(query.get("allowWatchBookmarks")),
        repeats_bookmarks=context.request.remote != IN_PROCESS,
    )


def watch_seconds(context: RequestContext) -> float | None:
    """How long a client wants to watch; None where it leaves that to the server. Raises BadRequest."""
    seconds = _int(context.query.get("timeoutSeconds", ""))
    return max(0.0, float(min(seconds, _LONGEST_WATCH))) if seconds else None


def version_number(text: str) -> int:
    """The version to read at. Raises what a malformed one is answered with, which has code 500 and no reason."""
    try:
        return go_numbers.parse_uint(text)
    except ValueError as error:
        problem = errors.invalid("resourceVersion", text, str(error))
        raise errors.StatusError(f"{problem.field}: {problem.body}", code=500) from error


def _listed_version(text: str) -> int:
    try:
        return go_numbers.parse_uint(text)
    except ValueError as error:
        problem = errors.invalid("resourceVersion", text, str(error))
        raise errors.BadRequest(f"invalid resource version: {problem.field}: {problem.body}") from error


def _named(context: RequestContext, selector: str) -> str:
    """The legacy path /watch/pods/NAME watches one object."""
    if context.info.is_watch_path and context.info.name:
        wanted = f"metadata.name={context.info.name}"
        return f"{selector},{wanted}" if selector else wanted
    return selector


def _check_watch(query: dict[str, str], match: str, initial: str | None) -> None:
    problems = []
    if initial is not None:
        if match != "NotOlderThan":
            problems.append(
                errors.forbidden(
                    "resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
                )
            )
    elif match:
        problems.append(
            errors.forbidden(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            )
        )
    if match and match != "NotOlderThan":
        problems.append(errors.not_supported("resourceVersionMatch", match, ("NotOlderThan",)))
    if match and query.get("continue"):
        problems.append(
            errors.forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided")
        )
    if problems:
        raise errors.Invalid.of(_options_kind("ListOptions"), "", problems)


def _check_version_match(query: dict[str, str], version: str, match: str, kind_name: str) -> None:
    problems = []
    if "sendInitialEvents" in query:
        problems.append(errors.forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    if match:
        if not version:
            problems.append(
                errors.forbidden(
                    "resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided"
                )
            )
        if query.get("continue"):
            problems.append(
                errors.forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided")
            )
        if match not in ("Exact", "NotOlderThan"):
            problems.append(errors.not_supported("resourceVersionMatch", match, ("Exact", "NotOlderThan")))
        if match == "Exact" and version == "0":
            problems.append(
                errors.forbidden(
                    "resourceVersionMatch", 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
                )
            )
    if problems:
        raise errors.Invalid.of(_options_kind(kind_name), "", problems)


def _int(text: str) -> int | None:
    """An integer parameter; an empty one is absent. Raises BadRequest."""
    try:
        return go_numbers.parse_int(text) if text else None
    except ValueError as error:
        raise errors.BadRequest(str(error)) from error


@lru_cache(maxsize=1024)
def label_selection(text: str) -> Selection | None:
    """A label selector as the watch cache takes it, or None for everything. Raises BadRequest."""
    if not text:
        return None
    try:
        selector = labels.parse(text)
    except labels.LabelSelectorError as error:
        raise errors.BadRequest(str(error)) from error
    if selector.is_everything:
        return None
    required = tuple(
        (one.key, frozenset(one.values) if one.values else None)
        for one in selector.requirements
        if one.operator in ("=", "==", "in", "exists")
    )
    return Selection(str(selector), selector.matches, required)


def field_selection(text: str, strategy: Strategy[Any]) -> Selection | None:
    """A field selector as the watch cache takes it, or None for everything. Raises BadRequest for unknown fields."""
    if not text:
        return None
    try:
        selector = fields.parse(text)
    except fields.FieldSelectorError as error:
        raise errors.BadRequest(str(error)) from error
    for one in selector.requirements:
        if one.field in ("metadata.name", "metadata.namespace") or one.field in strategy.field_names:
            continue
        if strategy.field_names or strategy.refuses_other_fields:
            raise errors.BadRequest(f"field label not supported: {one.field}")
        raise errors.BadRequest(
            f'"{one.field}" is not a known field selector: only "metadata.name", "metadata.namespace"'
        )
    if not selector.requirements:
        return None
    required = tuple((one.field, frozenset((one.value,))) for one in selector.requirements if one.equal)
    return Selection(str(selector), selector.matches, required)
