"""What the rules of `keelback.testing.convergence_rules` ask of objects and writes. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Final, TypeAlias

from keelback.testing.faults import Asked
from keelback.testing.recording import Write

Tree: TypeAlias = dict[str, Any]

ENDED: Final = ("Succeeded", "Failed")
FORGIVEN: Final = timedelta(seconds=120)
"""How long nobody need know that a pod has ceased to be Ready: its node may have been cut off."""
_AROUND: Final = timedelta(seconds=1)


def is_ready(pod: Tree) -> bool:
    """Whether a pod is Ready and nobody has asked for its deletion."""
    conditions = pod.get("status", {}).get("conditions", ())
    return not pod["metadata"].get("deletionTimestamp") and any(
        one["type"] == "Ready" and one["status"] == "True" for one in conditions
    )


def has_ended(pod: Tree) -> bool:
    """Whether all that it runs has ended, for good."""
    return pod.get("status", {}).get("phase") in ENDED


def of(held: Mapping[str, Tree], resource: str) -> list[Tree]:
    """All that is held of a resource, by its plural."""
    prefix = f"/registry/{resource}/"
    return [tree for key, tree in held.items() if key.startswith(prefix)]


def owner_uid(tree: Tree) -> str:
    """The uid of an object's controller, or an empty string."""
    references = tree["metadata"].get("ownerReferences", ())
    return next((str(one["uid"]) for one in references if one.get("controller")), "")


class Deleters:
    """Who has asked for the deletion of what."""

    def __init__(self, asked: Iterable[Asked]) -> None:
        self._deletes: dict[str, list[Asked]] = defaultdict(list)
        for one in asked:
            is_eviction = one.resource == "pods/eviction"
            if (is_eviction or one.verb in ("delete", "deletecollection")) and one.status < 300:
                self._deletes[one.name].append(one)

    def of(self, write: Write) -> set[str]:
        """The user agents of those who asked for the deletion that this write is."""
        name = write.key.rpartition("/")[2]
        return {one.client for one in self._deletes[name] if abs(one.at - write.at) <= _AROUND}
