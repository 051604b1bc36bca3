"""Kubernetes' `jsonpatch` library, for expressions that write patches (MutatingAdmissionPolicy)."""

from __future__ import annotations

from keelback.cel.declarations import Library, function, overload
from keelback.cel.libraries import costs
from keelback.cel.types import STRING


def _escaped_key(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


LIBRARY = Library(
    "kubernetes.jsonpatch",
    functions=(
        function(
            "jsonpatch.escapeKey",
            overload(
                "string_jsonpatch_escapeKey_string",
                (STRING,),
                STRING,
                _escaped_key,
                **costs.TRAVERSAL_OF_THE_SAME_SIZE,
            ),
        ),
    ),
)
