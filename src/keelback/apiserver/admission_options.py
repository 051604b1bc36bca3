"""The options of a request as admission shows them: CreateOptions, UpdateOptions, DeleteOptions (meta.k8s.io/v1)."""

from __future__ import annotations

from typing import Any

import msgspec

from keelback.apiserver.context import RequestContext
from keelback.component.http import parse_query

_NUMBERS = ("gracePeriodSeconds",)
_FLAGS = ("orphanDependents", "ignoreStoreReadErrorWithClusterBreakingPotential")
_NAMES = {"CREATE": "CreateOptions", "UPDATE": "UpdateOptions", "DELETE": "DeleteOptions"}


def options_tree(context: RequestContext, operation: str) -> dict[str, Any] | None:
    """The tree of the options. A patch counts as the create or the update that it comes to; CONNECT has none."""
    name = _NAMES.get(operation)
    if name is None:
        return None
    tree: dict[str, Any] = {"kind": name, "apiVersion": "meta.k8s.io/v1"}
    given = parse_query(context.request.query) if context.request.query else ()
    if name == "DeleteOptions" and context.request.body:
        return _from_body(context.request.body, tree)
    dry_run = [value for key, value in given if key == "dryRun"]
    if dry_run:
        tree["dryRun"] = dry_run
    for key, value in given:
        if name == "DeleteOptions":
            if key == "propagationPolicy" and value:
                tree[key] = value
            elif key in _NUMBERS and value.lstrip("-").isdigit():
                tree[key] = int(value)
            elif key in _FLAGS:
                tree[key] = value not in ("", "0", "false")
        elif key in ("fieldManager", "fieldValidation") and value:
            tree[key] = value
    return tree


def _from_body(body: bytes, tree: dict[str, Any]) -> dict[str, Any]:
    try:
        sent = msgspec.json.decode(body)
    except msgspec.DecodeError:
        # In YAML or protobuf: read when the deletion itself was understood.
        return tree
    named = {key: value for key, value in sent.items() if key not in tree} if isinstance(sent, dict) else {}
    return {**tree, **named}
