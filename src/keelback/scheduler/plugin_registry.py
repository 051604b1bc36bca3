"""Where plugins of users' own come from: installed packages (entry points) and modules that are named by a flag."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from keelback.scheduler.configuration_types import ConfigurationError

Factory: TypeAlias = Callable[[Mapping[str, Any]], Any]
"""Makes a plugin of its arguments in the configuration."""
Factories: TypeAlias = Mapping[str, Factory]

NONE: Final[Factories] = MappingProxyType({})
GROUP: Final = "keelback.scheduler_plugins"
"""The entry points that packages declare: NAME = "MODULE:OBJECT"."""

POINTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "preEnqueue": "pre_enqueue",
        "queueSort": "rank",
        "preFilter": "pre_filter",
        "filter": "filter",
        "postFilter": "post_filter",
        "preScore": "pre_score",
        "score": "score",
        "reserve": "reserve",
        "permit": "permit",
        "preBind": "pre_bind",
        "bind": "bind",
        "postBind": "post_bind",
    }
)
"""The extension points in a configuration's words, and the method that a plugin has there."""


def load(flags: Iterable[str] = ()) -> Factories:
    """By the names that configurations use, those of installed packages and of `NAME=MODULE:OBJECT` flags.

    An object is a class or function that takes the arguments. Raises ConfigurationError for what cannot be imported.
    """
    found: dict[str, Factory] = {}
    named = [EntryPoint(name, target, GROUP) for name, _, target in (flag.partition("=") for flag in flags)]
    for point in (*entry_points(group=GROUP), *named):
        if not point.name or not point.value:
            raise ConfigurationError(f"plugin {point.name or point.value!r} is not said as NAME=MODULE:OBJECT")
        try:
            made = point.load()
        except (ImportError, AttributeError, ValueError) as error:
            raise ConfigurationError(f"plugin {point.name}: {point.value} cannot be loaded: {error}") from error
        if not callable(made):
            raise ConfigurationError(f"plugin {point.name}: {point.value} is no class or function")
        found[point.name] = made
    return found


def make(name: str, factory: Factory, arguments: Mapping[str, Any], path: str) -> Any:
    """The plugin that a configuration enables by this name. Raises ConfigurationError with what its maker says."""
    try:
        plugin = factory(arguments)
    except Exception as error:  # the edge to somebody's code, which judges what it is given
        raise ConfigurationError(f"{path}: plugin {name}: {type(error).__name__}: {error}") from error
    if not any(hasattr(plugin, method) for method in POINTS.values()):
        raise ConfigurationError(f"{path}: plugin {name} extends none of {', '.join(POINTS)}")
    plugin.name = name
    return plugin
