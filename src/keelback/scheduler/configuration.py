"""A KubeSchedulerConfiguration file, read strictly: what cannot be done is refused, not passed over."""

from __future__ import annotations

import dataclasses

import msgspec

from keelback.apimachinery import yaml
from keelback.scheduler import extenders
from keelback.scheduler.config import Profile, SchedulerConfig
from keelback.scheduler.configuration_types import ConfigurationError, KubeSchedulerConfiguration, ProfileConfiguration
from keelback.scheduler.plugin_registry import NONE, Factories
from keelback.scheduler.profiles import compile_profile
from keelback.scheduling.node_resources_fit import NodeResourcesFit
from keelback.scheduling.plugins import Plugins


def parse(text: str, base: SchedulerConfig, own_plugins: Factories = NONE) -> SchedulerConfig:
    """What the file says, on top of `base`; it may enable plugins of users' own. Raises ConfigurationError."""
    given = _decoded(text)
    if given.pod_initial_backoff_seconds <= 0 or given.pod_max_backoff_seconds < given.pod_initial_backoff_seconds:
        raise ConfigurationError(
            "podInitialBackoffSeconds must be greater than 0, and podMaxBackoffSeconds no less than it"
        )
    extenders.check_all(given.extenders)
    ignored = frozenset(
        one.name for extender in given.extenders for one in extender.managed_resources if one.ignored_by_scheduler
    )
    profiles: dict[str, Profile] = {}
    for number, one in enumerate(given.profiles or (ProfileConfiguration(),)):
        path = f"profiles[{number}]"
        if not one.scheduler_name or one.scheduler_name in profiles:
            raise ConfigurationError(f"{path}.schedulerName: {one.scheduler_name!r} is empty or there twice")
        share = one.percentage_of_nodes_to_score
        share = given.percentage_of_nodes_to_score if share is None else share
        if share is not None and not 0 <= share <= 100:
            raise ConfigurationError(f"percentageOfNodesToScore is {share}, not from 0 to 100")
        # Left to itself, it scores every node: there is no reason to look at fewer.
        plugins = _without(ignored, compile_profile(one, path, own_plugins))
        profiles[one.scheduler_name] = Profile(plugins, share or 100)
    sorts = {one.plugins.queue_sort.name if one.plugins.queue_sort else "PrioritySort" for one in profiles.values()}
    if len(sorts) > 1:
        raise ConfigurationError(f"profiles: different queue sort plugins: {', '.join(sorted(sorts))}")
    leader = given.leader_election
    return dataclasses.replace(
        base,
        scheduler_names=tuple(profiles),
        profiles=profiles,
        extenders=given.extenders,
        pod_initial_backoff_seconds=float(given.pod_initial_backoff_seconds),
        pod_max_backoff_seconds=float(given.pod_max_backoff_seconds),
        leader_elect=leader.leader_elect if leader is not None else base.leader_elect,
    )


def _without(ignored: frozenset[str], plugins: Plugins) -> Plugins:
    """The plugins, of which NodeResourcesFit leaves these resources to extenders."""
    if not ignored:
        return plugins
    made = {id(one): one.ignoring(ignored) for one in plugins.all() if isinstance(one, NodeResourcesFit)}
    return dataclasses.replace(
        plugins,
        filters=tuple(made.get(id(plugin), plugin) for plugin in plugins.filters),
        scores=tuple((made.get(id(plugin), plugin), weight) for plugin, weight in plugins.scores),
    )


def _decoded(text: str) -> KubeSchedulerConfiguration:
    try:
        tree, repeated = yaml.load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(str(error)) from error
    if repeated:
        raise ConfigurationError(repeated[0])
    try:
        return msgspec.convert(tree, KubeSchedulerConfiguration)
    except msgspec.ValidationError as error:
        raise ConfigurationError(str(error)) from error
