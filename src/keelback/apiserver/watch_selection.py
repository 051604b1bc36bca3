"""What a list or watch asks for: a scope of keys and selectors, as values that compare, so that equals share work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Selection:
    """A parsed label or field selector.

    `text` is its canonical form: selections with the same text are the same. `matches` decides over an object's labels
    (or fields). `required` are conditions that must hold in any case, each a name and the values it may have (None:
    any): the cache uses them to find candidates, so leave out what is not a plain necessary condition (`!=`, `notin`,
    `!x`); `()` is always right, only slower.
    """

    text: str
    matches: Callable[[Mapping[str, str]], bool] = field(compare=False)
    required: tuple[tuple[str, frozenset[str] | None], ...] = field(default=(), compare=False)

    def the_only(self, name: str) -> str | None:
        """The one value the name must have, when there is one."""
        for required_name, values in self.required:
            if required_name == name and values is not None and len(values) == 1:
                return next(iter(values))
        return None


@dataclass(frozen=True, slots=True)
class Filter:
    """`scope` is a key prefix: that of the resource, or of one namespace in it."""

    scope: str
    labels: Selection | None = None
    fields: Selection | None = None

    @property
    def has_selectors(self) -> bool:
        return self.labels is not None or self.fields is not None
