"""Which webhooks and mutating policies must see an object again, because others changed it after them (KEP-1872)."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, Protocol


class _Keeping(Protocol):
    is_wanted: bool
    is_second_round: bool
    kept: dict[str, Any]


@dataclass(slots=True)
class Invocations:
    """What one plugin remembers of the first round."""

    again: set[Hashable] = field(default_factory=set)
    asked: set[Hashable] = field(default_factory=set)
    output: Any = None
    """The object as the plugin left it."""

    def begin(self, reinvocation: _Keeping, obj: Any) -> None:
        """At the beginning of a round: others may have changed the object since this plugin's end of the last one."""
        if reinvocation.is_second_round and obj != self.output:
            self._require()

    def is_skipped(self, reinvocation: _Keeping, key: Hashable) -> bool:
        """Whether the second round does not concern this one. Nobody is asked then for the first time."""
        return reinvocation.is_second_round and key not in self.again

    def changed(self, reinvocation: _Keeping) -> None:
        """The object was changed: those asked before, who wish it, are asked again in a second round."""
        self._require()
        reinvocation.is_wanted = True

    def may_ask_again(self, key: Hashable) -> None:
        """This one wishes to be asked again when the object changes after it."""
        self.asked.add(key)

    def _require(self) -> None:
        self.again |= self.asked
        self.asked.clear()


def of(reinvocation: _Keeping, plugin: str) -> Invocations:
    """What a plugin remembers in a request."""
    known: Invocations | None = reinvocation.kept.get(plugin)
    if known is None:
        known = reinvocation.kept[plugin] = Invocations()
    return known
