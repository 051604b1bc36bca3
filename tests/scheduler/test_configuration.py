"""The file that kube-scheduler's `--config` names: what it changes, and what is said of mistakes in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from keelback.scheduler import configuration
from keelback.scheduler.config import LeaderElection, SchedulerConfig
from keelback.scheduler.configuration_types import ConfigurationError
from keelback.scheduling import builtin
from keelback.scheduling.plugins import Plugins, PreemptionLimits
from keelback.scheduling.volume_binding import VolumeBinding

Make = Callable[..., Any]

HEAD = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"


def parse(text: str) -> SchedulerConfig:
    return configuration.parse(HEAD + text, SchedulerConfig())


def plugins(text: str) -> Plugins:
    return parse(text).profiles["default-scheduler"].plugins


def names(members: tuple[Any, ...]) -> list[str]:
    return [one.name for one in members]


def test_a_file_that_says_nothing_is_the_default_profile() -> None:
    found = plugins("")
    assert names(found.pre_filters) == names(builtin.DEFAULT.pre_filters)
    assert names(found.filters) == names(builtin.DEFAULT.filters)
    assert [(one.name, weight) for one, weight in found.scores] == [
        (one.name, weight) for one, weight in builtin.DEFAULT.scores
    ]
    assert found.preemption == PreemptionLimits()


def test_profiles_are_schedulers_with_their_own_plugins() -> None:
    config = parse(
        """
podInitialBackoffSeconds: 2
podMaxBackoffSeconds: 20
percentageOfNodesToScore: 50
leaderElection: {leaderElect: false}
profiles:
- schedulerName: default-scheduler
- schedulerName: plain
  percentageOfNodesToScore: 20
  plugins:
    score: {disabled: [{name: "*"}], enabled: [{name: ImageLocality, weight: 7}]}
    filter: {disabled: [{name: TaintToleration}]}
    postFilter: {disabled: [{name: DefaultPreemption}]}
"""
    )
    assert config.scheduler_names == ("default-scheduler", "plain")
    assert (config.pod_initial_backoff_seconds, config.pod_max_backoff_seconds) == (2, 20)
    assert not config.leader_elect
    default, plain = (config.profiles[name] for name in config.scheduler_names)
    assert (default.percentage_of_nodes_to_score, plain.percentage_of_nodes_to_score) == (50, 20)
    assert [(one.name, weight) for one, weight in plain.plugins.scores] == [("ImageLocality", 7)]
    assert "TaintToleration" not in names(plain.plugins.filters)
    assert "TaintToleration" in names(default.plugins.filters)
    assert plain.plugins.preemption is None


def test_what_is_said_of_all_points_yields_to_what_is_said_of_one() -> None:
    found = plugins(
        """
profiles:
- plugins:
    multiPoint:
      disabled: [{name: InterPodAffinity}]
      enabled: [{name: ImageLocality, weight: 5}]
    score:
      enabled: [{name: NodeAffinity, weight: 9}]
"""
    )
    assert "InterPodAffinity" not in names(found.filters)
    weights = {one.name: weight for one, weight in found.scores}
    assert (weights["ImageLocality"], weights["NodeAffinity"], weights["TaintToleration"]) == (5, 9, 3)
    assert "InterPodAffinity" not in weights


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("profile: []", "unknown field `profile`"),
        ("parallelism: 0", "parallelism: should be an integer value greater than zero"),
        ("leaderElection: {resourceLock: endpoints}", "leaderElection.resourceLock is 'endpoints'"),
        ("leaderElection: {leaseDuration: 5s}", "leaseDuration must be greater than renewDeadline"),
        ("leaderElection: {leaseDuration: soon}", 'leaderElection.leaseDuration: time: invalid duration "soon"'),
        (
            "profiles: [{pluginConfig: [{name: VolumeBinding, args: {bindTimeoutSeconds: -1}}]}]",
            "bindTimeoutSeconds: must be greater than or equal to zero",
        ),
        (
            "profiles: [{pluginConfig: [{name: VolumeBinding, args: {shape: [{utilization: 0, score: 1}]}}]}]",
            "args.shape: only with the feature gate StorageCapacityScoring",
        ),
        (
            "profiles: [{pluginConfig: [{name: NodeResourcesBalancedAllocation, args: "
            "{resources: [{name: cpu, weight: 2}]}}]}]",
            "args.resources: the weight of cpu is 2, not 1",
        ),
        ("extenders: [{urlPrefix: 'ftp://x', filterVerb: filter}]", "extenders[0].urlPrefix: 'ftp://x' is no http"),
        (
            "extenders: [{urlPrefix: 'http://x', prioritizeVerb: p}]",
            "extenders[0].weight: must have a positive weight applied to it",
        ),
        ("extenders: [{urlPrefix: 'http://x', httpTimeout: soon}]", 'extenders[0]: time: invalid duration "soon"'),
        (
            "extenders: [{urlPrefix: 'http://x', managedResources: [{name: cpu}]}]",
            "extenders[0].managedResources[0].name: 'cpu' is an invalid extended resource name",
        ),
        (
            "extenders: [{urlPrefix: 'http://x', bindVerb: b}, {urlPrefix: 'http://y', bindVerb: b}]",
            "found 2 extenders implementing bind",
        ),
        (
            "extenders: [{urlPrefix: 'https://x', tlsConfig: {caFile: /nowhere/ca.crt}}]",
            "extenders[0]: a certificate or key cannot be used",
        ),
        ("podMaxBackoffSeconds: soon", "Expected `int`, got `str` - at `$.podMaxBackoffSeconds`"),
        ("podMaxBackoffSeconds: 0", "podMaxBackoffSeconds no less"),
        ("percentageOfNodesToScore: 101", "not from 0 to 100"),
        ("profiles: [{}, {}]", "is empty or there twice"),
        ("profiles: [{plugins: {score: {enabled: [{name: Foo}]}}}]", "profiles[0].plugins.score: plugin 'Foo' is not"),
        ("profiles: [{plugins: {score: {enabled: [{name: NodePorts}]}}}]", "'NodePorts' does not extend score"),
        ("profiles: [{plugins: {filter: {enabled: [{name: '*'}]}}}]", "plugin '*' is not known"),
        ("profiles: [{plugins: {multiPoint: {disabled: [{name: '*'}]}}}]", "without SchedulingGates is not possible"),
        ("profiles: [{plugins: {bind: {disabled: [{name: DefaultBinder}]}}}]", "without DefaultBinder"),
        ("profiles: [{plugins: {colour: {}}}]", "Invalid enum value 'colour'"),
        ("profiles: [{pluginConfig: [{name: NodePorts, args: {}}]}]", "'NodePorts' takes no arguments"),
        (
            "profiles: [{pluginConfig: [{name: InterPodAffinity, args: {hardPodAffinityWeight: 101}}]}]",
            "profiles[0].pluginConfig[0].args.hardPodAffinityWeight is 101",
        ),
        (
            "profiles: [{pluginConfig: [{name: NodeResourcesFit, args: {kind: InterPodAffinityArgs}}]}]",
            "is not kubescheduler.config.k8s.io/v1 NodeResourcesFitArgs",
        ),
        (
            "profiles: [{pluginConfig: [{name: NodeResourcesFit, args: "
            "{scoringStrategy: {type: RequestedToCapacityRatio}}}]}]",
            "at least one point",
        ),
    ],
)
def test_mistakes_are_named_with_their_place(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse(text)
    assert said in str(raised.value)


STOCK = """\
clientConnection:
  acceptContentTypes: ""
  burst: 100
  contentType: application/vnd.kubernetes.protobuf
  kubeconfig: /etc/kubernetes/scheduler.conf
  qps: 50
delayCacheUntilActive: false
enableContentionProfiling: true
enableProfiling: true
leaderElection:
  leaderElect: true
  leaseDuration: 20s
  renewDeadline: 12s
  resourceLock: leases
  resourceName: second-scheduler
  resourceNamespace: schedulers
  retryPeriod: 3s
parallelism: 16
percentageOfNodesToScore: 0
podInitialBackoffSeconds: 1
podMaxBackoffSeconds: 10
profiles:
- schedulerName: default-scheduler
  pluginConfig:
  - name: DefaultPreemption
    args:
      apiVersion: kubescheduler.config.k8s.io/v1
      kind: DefaultPreemptionArgs
      minCandidateNodesAbsolute: 100
      minCandidateNodesPercentage: 10
  - name: DynamicResources
    args: {apiVersion: kubescheduler.config.k8s.io/v1, kind: DynamicResourcesArgs, filterTimeout: 10s}
  - name: InterPodAffinity
    args:
      apiVersion: kubescheduler.config.k8s.io/v1
      hardPodAffinityWeight: 1
      ignorePreferredTermsOfExistingPods: false
      kind: InterPodAffinityArgs
  - name: NodeAffinity
    args: {apiVersion: kubescheduler.config.k8s.io/v1, kind: NodeAffinityArgs}
  - name: NodeResourcesBalancedAllocation
    args:
      apiVersion: kubescheduler.config.k8s.io/v1
      kind: NodeResourcesBalancedAllocationArgs
      resources: [{name: cpu, weight: 1}, {name: memory, weight: 1}]
  - name: NodeResourcesFit
    args:
      apiVersion: kubescheduler.config.k8s.io/v1
      kind: NodeResourcesFitArgs
      scoringStrategy:
        resources: [{name: cpu, weight: 1}, {name: memory, weight: 1}]
        type: LeastAllocated
  - name: PodTopologySpread
    args: {apiVersion: kubescheduler.config.k8s.io/v1, defaultingType: System, kind: PodTopologySpreadArgs}
  - name: VolumeBinding
    args: {apiVersion: kubescheduler.config.k8s.io/v1, bindTimeoutSeconds: 30, kind: VolumeBindingArgs}
  plugins:
    bind: {}
    filter: {}
    multiPoint:
      enabled:
      - {name: SchedulingGates, weight: 0}
      - {name: PrioritySort, weight: 0}
      - {name: NodeUnschedulable, weight: 0}
      - {name: NodeName, weight: 0}
      - {name: TaintToleration, weight: 3}
      - {name: NodeAffinity, weight: 2}
      - {name: NodePorts, weight: 0}
      - {name: NodeResourcesFit, weight: 1}
      - {name: VolumeRestrictions, weight: 0}
      - {name: NodeVolumeLimits, weight: 0}
      - {name: VolumeBinding, weight: 0}
      - {name: VolumeZone, weight: 0}
      - {name: PodTopologySpread, weight: 2}
      - {name: InterPodAffinity, weight: 2}
      - {name: DynamicResources, weight: 2}
      - {name: DefaultPreemption, weight: 0}
      - {name: NodeResourcesBalancedAllocation, weight: 1}
      - {name: ImageLocality, weight: 1}
      - {name: DefaultBinder, weight: 0}
      - {name: NodeDeclaredFeatures, weight: 0}
"""
"""What `kube-scheduler --write-config-to` writes, but for the lease, the connection and the volumes' timeout."""


def test_what_kube_scheduler_writes_of_itself_is_taken_and_what_means_nothing_here_is_named() -> None:
    found = parse(STOCK)
    assert found.leader_election == LeaderElection("schedulers", "second-scheduler", 20, 12.0, 3.0)
    assert (found.leader_elect, found.kubeconfig) == (True, "/etc/kubernetes/scheduler.conf")
    assert [one.partition(":")[0] for one in found.without_effect] == [
        "parallelism",
        "clientConnection.qps, clientConnection.burst",
        "clientConnection.contentType, clientConnection.acceptContentTypes",
        "enableProfiling, enableContentionProfiling",
        "delayCacheUntilActive",
    ]
    made = found.profiles["default-scheduler"].plugins
    assert names(made.filters) == names(builtin.DEFAULT.filters)
    assert [(one.name, weight) for one, weight in made.scores] == [
        (one.name, weight) for one, weight in builtin.DEFAULT.scores
    ]
    assert made.preemption == PreemptionLimits()
    assert [one.bind_timeout_seconds for one in made.filters if isinstance(one, VolumeBinding)] == [30.0]
    assert parse("").without_effect == ()


def test_plugins_may_be_enabled_wherever_upstream_has_them() -> None:
    found = plugins(
        """
profiles:
- plugins:
    preFilter: {enabled: [{name: NodePorts}, {name: VolumeRestrictions}]}
    preScore: {disabled: [{name: "*"}], enabled: [{name: InterPodAffinity}]}
    postFilter: {enabled: [{name: DynamicResources}]}
    reserve: {enabled: [{name: VolumeBinding}]}
    preBind: {enabled: [{name: DynamicResources}]}
"""
    )
    assert names(found.filters) == names(builtin.DEFAULT.filters)
    assert names(found.pre_filters) == names(builtin.DEFAULT.pre_filters)
    assert (found.pre_scores, found.post_filters, found.reserves, found.pre_binds) == ((), (), (), ())


def test_another_version_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="v1beta3"):
        configuration.parse(
            "apiVersion: kubescheduler.config.k8s.io/v1beta3\nkind: KubeSchedulerConfiguration\n", SchedulerConfig()
        )


def test_arguments_reach_their_plugins(make_world: Make) -> None:
    async def scenario() -> None:
        config = parse(
            """
profiles:
- schedulerName: default-scheduler
  pluginConfig:
  - name: NodeAffinity
    args:
      addedAffinity:
        requiredDuringSchedulingIgnoredDuringExecution:
          nodeSelectorTerms: [{matchExpressions: [{key: pool, operator: In, values: [batch]}]}]
  - name: PodTopologySpread
    args:
      defaultingType: List
      defaultConstraints: [{topologyKey: rack, maxSkew: 1, whenUnsatisfiable: ScheduleAnyway}]
  - name: DefaultPreemption
    args: {minCandidateNodesPercentage: 5, minCandidateNodesAbsolute: 7}
"""
        )
        assert config.profiles["default-scheduler"].plugins.preemption == PreemptionLimits(5, 7)
        world = make_world(scheduler_names=config.scheduler_names, profiles=config.profiles)
        await world.add_node("other")
        async with world.running():
            await world.add_pod("web")
            await world.until(lambda: world.messages("web", "FailedScheduling"))
            assert world.messages("web", "FailedScheduling")[0].startswith(
                "0/1 nodes are available: 1 node(s) didn't match scheduler-enforced node affinity. no new claims "
            )
            await world.add_node("batch", pool="batch")
            await world.settle()
            world.clock.advance(2)
            await world.until(lambda: world.node_of("web") == "batch")

    asyncio.run(scenario())


def test_each_profile_places_its_own_pods(make_world: Make) -> None:
    async def scenario() -> None:
        config = parse(
            """
profiles:
- schedulerName: default-scheduler
- schedulerName: tight
  plugins:
    score: {disabled: [{name: "*"}], enabled: [{name: NodeResourcesFit}]}
  pluginConfig:
  - name: NodeResourcesFit
    args:
      scoringStrategy: {type: MostAllocated, resources: [{name: cpu, weight: 1}]}
"""
        )
        world = make_world(scheduler_names=config.scheduler_names, profiles=config.profiles)
        for name in ("n1", "n2"):
            await world.add_node(name)
        await world.add_pod("first", nodeName="n2")
        async with world.running():
            await world.add_pod("packed", schedulerName="tight")
            await world.until(lambda: world.node_of("packed"))
            await world.add_pod("spread")
            await world.until(lambda: world.node_of("spread"))
            assert (world.node_of("packed"), world.node_of("spread")) == ("n2", "n1")

    asyncio.run(scenario())
