"""A KubeSchedulerConfiguration file, read strictly: what cannot be done is refused, not passed over."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import msgspec

from keelback.apimachinery import yaml
from keelback.scheduler import extenders
from keelback.scheduler.config import LeaderElection, Profile, SchedulerConfig
from keelback.scheduler.configuration_types import (
    ConfigurationError,
    KubeSchedulerConfiguration,
    LeaderElectionConfiguration,
    ProfileConfiguration,
)
from keelback.scheduler.plugin_arguments import duration
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
    return dataclasses.replace(
        base,
        scheduler_names=tuple(profiles),
        profiles=profiles,
        extenders=given.extenders,
        pod_initial_backoff_seconds=float(given.pod_initial_backoff_seconds),
        pod_max_backoff_seconds=float(given.pod_max_backoff_seconds),
        leader_elect=given.leader_election.leader_elect if given.leader_election is not None else base.leader_elect,
        leader_election=_leader_election(given.leader_election or LeaderElectionConfiguration()),
        kubeconfig=given.client_connection.kubeconfig,
        without_effect=tuple(_without_effect(given)),
    )


def _leader_election(given: LeaderElectionConfiguration) -> LeaderElection:
    path = "leaderElection"
    lease, deadline, retry = (
        duration(text, f"{path}.{name}")
        for name, text in (
            ("leaseDuration", given.lease_duration),
            ("renewDeadline", given.renew_deadline),
            ("retryPeriod", given.retry_period),
        )
    )
    if not lease > deadline > retry > 0:
        raise ConfigurationError(f"{path}: leaseDuration must be greater than renewDeadline, and that than retryPeriod")
    if given.resource_lock != "leases":
        raise ConfigurationError(f"{path}.resourceLock is {given.resource_lock!r}: only leases are supported")
    if not given.resource_name or not given.resource_namespace:
        raise ConfigurationError(f"{path}: resourceName and resourceNamespace are required")
    return LeaderElection(given.resource_namespace, given.resource_name, math.ceil(lease), deadline, retry)


def _without_effect(given: KubeSchedulerConfiguration) -> Iterator[str]:
    connection = given.client_connection
    if given.parallelism is not None:
        if given.parallelism <= 0:
            raise ConfigurationError("parallelism: should be an integer value greater than zero")
        yield "parallelism: all nodes are judged at once, by one thread"
    if connection.qps or connection.burst:
        yield "clientConnection.qps, clientConnection.burst: the API server's priority and fairness is the only limit"
    if any(one not in ("", "application/json") for one in (connection.content_type, connection.accept_content_types)):
        yield "clientConnection.contentType, clientConnection.acceptContentTypes: JSON is spoken"
    if given.enable_profiling or given.enable_contention_profiling:
        yield "enableProfiling, enableContentionProfiling: the profiles of Go programs are not to be had"
    if given.delay_cache_until_active is False:
        yield "delayCacheUntilActive: a scheduler that does not lead never fills its caches"


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
