"""Which plugins a profile runs: the default ones, changed by what a configuration enables and disables.

As upstream: what is said of one extension point goes before what is said of all of them (`multiPoint`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from keelback.scheduler import plugin_registry
from keelback.scheduler.configuration_types import ConfigurationError, PluginSet, ProfileConfiguration
from keelback.scheduler.plugin_arguments import ARGUMENTS
from keelback.scheduler.plugin_registry import NONE, POINTS, Factories
from keelback.scheduling import builtin
from keelback.scheduling.plugins import Plugins, PreemptionLimits

_UPSTREAM_ORDER: Final = (
    "SchedulingGates",
    "PrioritySort",
    "NodeUnschedulable",
    "NodeName",
    "TaintToleration",
    "NodeAffinity",
    "NodePorts",
    "NodeResourcesFit",
    "VolumeRestrictions",
    "NodeVolumeLimits",
    "VolumeBinding",
    "VolumeZone",
    "PodTopologySpread",
    "InterPodAffinity",
    "DynamicResources",
    "DefaultPreemption",
    "NodeResourcesBalancedAllocation",
    "ImageLocality",
    "DefaultBinder",
    "NodeDeclaredFeatures",
)
_PREPARES: Final = ("preFilter", "filter", "preScore", "score")
_BINDS_WHAT_IT_CHOOSES: Final = ("preFilter", "filter", "preScore", "score", "reserve", "preBind")
_UPSTREAM_POINTS: Final[Mapping[str, tuple[str, ...]]] = {
    "SchedulingGates": ("preEnqueue",),
    "PrioritySort": ("queueSort",),
    "TaintToleration": ("filter", "preScore", "score"),
    "NodeAffinity": _PREPARES,
    "NodePorts": ("preFilter", "filter"),
    "NodeResourcesFit": _PREPARES,
    "VolumeRestrictions": ("preFilter", "filter"),
    "NodeVolumeLimits": ("preFilter", "filter"),
    "VolumeBinding": _BINDS_WHAT_IT_CHOOSES,
    "VolumeZone": ("preFilter", "filter"),
    "PodTopologySpread": _PREPARES,
    "InterPodAffinity": _PREPARES,
    "DynamicResources": ("preEnqueue", "postFilter", *_BINDS_WHAT_IT_CHOOSES),
    "DefaultPreemption": ("preEnqueue", "postFilter"),
    "NodeResourcesBalancedAllocation": ("preScore", "score"),
    "ImageLocality": ("score",),
    "DefaultBinder": ("bind",),
    "NodeDeclaredFeatures": ("preFilter", "filter"),
}
"""Where files that were written for upstream may enable them."""
_FIXED: Final = {"SchedulingGates": "preEnqueue", "PrioritySort": "queueSort", "DefaultBinder": "bind"}
"""What every profile has at these points, unless (of the last two) a plugin of a user's own stands in."""

_WEIGHTS: Final = {plugin.name: weight for plugin, weight in builtin.DEFAULT.scores}
_DEFAULTS: Final[Mapping[str, Any]] = {
    **{plugin.name: plugin for plugin in builtin.DEFAULT.pre_filters},
    **{plugin.name: plugin for plugin in builtin.DEFAULT.filters},
    **{plugin.name: plugin for plugin, _ in builtin.DEFAULT.scores},
}


def compile_profile(profile: ProfileConfiguration, path: str, own: Factories = NONE) -> Plugins:
    """The plugins of a profile; `path` says where it stands, `own` has those of users. Raises ConfigurationError."""
    made = _make(profile, path, own)
    sets: Mapping[str, PluginSet] = {str(point): given for point, given in (profile.plugins or {}).items()}
    for point, given in sets.items():
        _check(given, point, made, f"{path}.plugins.{point}")
    everywhere = _merged(dict.fromkeys(_UPSTREAM_ORDER, 0), sets.get("multiPoint", PluginSet()))

    def at(point: str, implements: Callable[[Any], bool]) -> list[tuple[Any, int]]:
        inherited = {name: weight for name, weight in everywhere.items() if name in made and implements(made[name])}
        merged = _merged(inherited, sets.get(point, PluginSet()), own_first=True)
        # What upstream does at a point of its own may be done at another one here.
        there = [(name, weight) for name, weight in merged.items() if name in made and implements(made[name])]
        return [(made[name], weight or _WEIGHTS.get(name, 1)) for name, weight in there]

    def own_at(point: str) -> tuple[Any, ...]:
        return tuple(plugin for plugin, _ in at(point, lambda one: hasattr(one, POINTS[point])))

    has = {name: name in _merged(everywhere, sets.get(point, PluginSet())) for name, point in _FIXED.items()}
    sorts, binds = own_at("queueSort"), own_at("bind")
    if len(sorts) + has["PrioritySort"] > 1:
        raise ConfigurationError(
            f"{path}.plugins.queueSort: only one queue sort plugin is possible: disable PrioritySort"
        )
    for name, stands_in in (("SchedulingGates", ()), ("PrioritySort", sorts), ("DefaultBinder", binds)):
        if not has[name] and not stands_in:
            raise ConfigurationError(f"{path}.plugins: a scheduler without {name} is not possible")
    preempts = "DefaultPreemption" in _merged(everywhere, sets.get("postFilter", PluginSet()))
    return Plugins(
        pre_filters=tuple(plugin for plugin, _ in at("preFilter", lambda one: hasattr(one, "pre_filter"))),
        filters=tuple(plugin for plugin, _ in at("filter", lambda one: hasattr(one, "filter"))),
        scores=tuple(at("score", lambda one: hasattr(one, "score"))),
        preemption=made["DefaultPreemption"] if preempts else None,
        pre_enqueues=own_at("preEnqueue"),
        queue_sort=sorts[0] if sorts else None,
        post_filters=own_at("postFilter"),
        pre_scores=own_at("preScore"),
        reserves=own_at("reserve"),
        permits=own_at("permit"),
        pre_binds=own_at("preBind"),
        binds=binds,
        has_default_binder=has["DefaultBinder"],
        post_binds=own_at("postBind"),
    )


def _make(profile: ProfileConfiguration, path: str, own: Factories) -> dict[str, Any]:
    made: dict[str, Any] = {**_DEFAULTS, "DefaultPreemption": PreemptionLimits()}
    arguments = {one.name: one.args for one in profile.plugin_config}
    enabled = {one.name for given in (profile.plugins or {}).values() for one in given.enabled}
    for name in sorted(enabled & own.keys()):
        made[name] = plugin_registry.make(name, own[name], arguments.get(name, {}), path)
    seen = set()
    for number, given in enumerate(profile.plugin_config):
        where = f"{path}.pluginConfig[{number}]"
        if given.name in seen:
            raise ConfigurationError(f"{where}: repeated config for plugin {given.name}")
        seen.add(given.name)
        if given.name in own:
            continue
        if given.name not in ARGUMENTS:
            raise ConfigurationError(
                f"{where}: plugin {given.name!r} takes no arguments; these do: {', '.join(sorted(ARGUMENTS))}"
            )
        made[given.name] = ARGUMENTS[given.name](given.args, f"{where}.args")
    return made


def _merged(inherited: Mapping[str, int], given: PluginSet, *, own_first: bool = False) -> dict[str, int]:
    disabled = {one.name for one in given.disabled}
    kept = {} if "*" in disabled else {name: weight for name, weight in inherited.items() if name not in disabled}
    own = {one.name: one.weight for one in given.enabled}
    if not own_first:
        # A plugin that is said again keeps its place and takes the new weight.
        return {**kept, **own}
    replaced = {name: own.get(name, weight) for name, weight in kept.items()}
    return {**{name: weight for name, weight in own.items() if name not in kept}, **replaced}


def _check(given: PluginSet, point: str, made: Mapping[str, Any], path: str) -> None:
    names = [one.name for one in given.enabled]
    for one in (*given.enabled, *given.disabled):
        known = {*_UPSTREAM_ORDER, *made}
        if one.name not in known and not (one.name == "*" and one in given.disabled):
            raise ConfigurationError(f"{path}: plugin {one.name!r} is not known; known are {', '.join(sorted(known))}")
    for one in given.enabled:
        if names.count(one.name) > 1:
            raise ConfigurationError(f"{path}: plugin {one.name!r} is enabled twice")
        if one.weight < 0:
            raise ConfigurationError(f"{path}: the weight of plugin {one.name!r} is {one.weight}, less than nothing")
        if point in _UPSTREAM_POINTS.get(one.name, ()):
            continue
        if point != "multiPoint" and not hasattr(made.get(one.name), POINTS[point]):
            raise ConfigurationError(f"{path}: plugin {one.name!r} does not extend {point}")
