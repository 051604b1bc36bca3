"""A profile that a configuration file describes decides as the plain scheduler does that is told the same."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from keelback.scheduler import configuration
from keelback.scheduler.config import SchedulerConfig
from keelback.testing.plain_scheduler import WEIGHTS, Arguments, agree
from keelback.testing.random_clusters import (
    GPU,
    HOSTNAME,
    ZONE,
    Columns,
    random_node_affinity,
    random_pod,
    random_world,
)

FILTERS = (
    "NodeUnschedulable",
    "TaintToleration",
    "NodeAffinity",
    "NodePorts",
    "NodeResourcesFit",
    "PodTopologySpread",
    "InterPodAffinity",
)
COUNTED = ("cpu", "memory", GPU)


def subset(chance: random.Random, names: tuple[str, ...], share: float) -> tuple[str, ...]:
    return tuple(name for name in names if chance.random() < share)


def random_arguments(chance: random.Random) -> Arguments:
    points = sorted(chance.sample(range(101), chance.randint(1, 4)))
    types = ("LeastAllocated", "MostAllocated", "RequestedToCapacityRatio")
    default_spread = chance.choice((None, (), ((ZONE, 1),), (("disk", 2), (HOSTNAME, 3))))
    required = chance.choice(((), ((ZONE, 1),), ((ZONE, 2), ("disk", 1))))
    return Arguments(
        added_affinity=random_node_affinity(chance) if chance.random() < 0.4 else None,
        hard_pod_affinity_weight=chance.choice((0, 1, 50, 100)),
        ignore_preferred_terms_of_existing_pods=chance.random() < 0.3,
        default_spread=default_spread,
        default_required_spread=() if default_spread is None else required,
        without_filter=frozenset(subset(chance, FILTERS, 0.15)),
        weights={name: chance.choice((weight, chance.randint(1, 20))) for name, weight in WEIGHTS.items()}
        if chance.random() < 0.5
        else {name: chance.randint(1, 20) for name in subset(chance, tuple(WEIGHTS), 0.7)},
        strategy=chance.choice(types),
        strategy_resources=tuple((name, chance.randint(1, 100)) for name in subset(chance, COUNTED, 0.8) or ("cpu",)),
        strategy_shape=tuple((point, 10 * chance.randint(0, 10)) for point in points),
        balanced=subset(chance, COUNTED, 0.8) or ("cpu", "memory"),
        ignored=frozenset((GPU,)) if chance.random() < 0.3 else frozenset(),
    )


def file_of(arguments: Arguments) -> str:
    """The configuration that says so."""
    strategy: dict[str, Any] = {
        "type": arguments.strategy,
        "resources": [{"name": name, "weight": weight} for name, weight in arguments.strategy_resources],
    }
    if arguments.strategy == "RequestedToCapacityRatio":
        shape = [{"utilization": percent, "score": score // 10} for percent, score in arguments.strategy_shape]
        strategy["requestedToCapacityRatio"] = {"shape": shape}
    added, spread = arguments.added_affinity, arguments.default_spread
    constraints = [
        {"topologyKey": key, "maxSkew": skew, "whenUnsatisfiable": when}
        for when, given in (("ScheduleAnyway", spread), ("DoNotSchedule", arguments.default_required_spread))
        for key, skew in given or ()
    ]
    arguments_of = {
        "NodeResourcesFit": {"scoringStrategy": strategy, "ignoredResources": sorted(arguments.ignored)},
        "NodeResourcesBalancedAllocation": {"resources": [{"name": name} for name in arguments.balanced]},
        "NodeAffinity": {"addedAffinity": msgspec.to_builtins(added)} if added is not None else {},
        "InterPodAffinity": {
            "hardPodAffinityWeight": arguments.hard_pod_affinity_weight,
            "ignorePreferredTermsOfExistingPods": arguments.ignore_preferred_terms_of_existing_pods,
        },
        "PodTopologySpread": {"defaultingType": "List", "defaultConstraints": constraints}
        if spread is not None
        else {},
    }
    profile = {
        "plugins": {
            # Where it may name the only nodes worth a look, it decides as much as with its filter.
            "preFilter": {"disabled": [{"name": name} for name in sorted(arguments.without_filter & {"NodeAffinity"})]},
            "filter": {"disabled": [{"name": name} for name in sorted(arguments.without_filter)]},
            "score": {
                "enabled": [{"name": name, "weight": weight} for name, weight in arguments.weights.items()],
                "disabled": [{"name": name} for name in WEIGHTS if name not in arguments.weights],
            },
        },
        "pluginConfig": [{"name": name, "args": args} for name, args in arguments_of.items()],
    }
    kind = {"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration"}
    return json.dumps({**kind, "profiles": [profile]})


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32))
def test_a_configured_profile_decides_as_the_plain_scheduler_does(seed: int) -> None:
    chance = random.Random(seed)
    world = random_world(chance)
    arguments = random_arguments(chance)
    parsed = configuration.parse(file_of(arguments), SchedulerConfig())
    plugins = parsed.profiles["default-scheduler"].plugins
    agree(world, Columns(world, plugins), random_pod(chance, "incoming"), arguments)
