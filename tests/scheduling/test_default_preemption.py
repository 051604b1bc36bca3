"""Preemption: room is made where it hurts least, and only as much as is needed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from keelback.api.core_v1 import ContainerPort, ResourceRequirements
from keelback.apimachinery.meta import LabelSelector, ObjectMeta
from keelback.scheduling import builtin, default_preemption
from keelback.scheduling.cluster_objects import BudgetInfo, ClusterObjects
from keelback.scheduling.default_preemption import Candidate, Preemption
from keelback.scheduling.evaluation import Evaluator
from keelback.scheduling.label_selectors import compile_selector, equals
from keelback.scheduling.node_info import NodeInfo
from keelback.scheduling.node_table import NodeTable, PlacedPod
from keelback.scheduling.plugins import PreemptionLimits
from keelback.scheduling.pod_info import PodInfo, PodShapes
from keelback.scheduling.pod_to_place import ContainerToPlace, PodToPlace, SpecToPlace
from keelback.testing.plain_preemption import PlainBudget, PlainPreemption, Victims
from keelback.testing.random_clusters import Columns, random_pod, random_world

SHAPES = PodShapes()


def shape(priority: int = 0, cpu: int = 1000, **spec: Any) -> PodInfo:
    resources = ResourceRequirements(requests={"cpu": f"{cpu}m"})
    labels, ports = spec.pop("labels", {}), spec.pop("ports", ())
    pod = PodToPlace(
        metadata=ObjectMeta(namespace="default", labels=labels),
        spec=SpecToPlace(containers=(ContainerToPlace(resources=resources, ports=ports),), priority=priority, **spec),
    )
    return SHAPES.of(pod)


def placed(name: str, node_name: str, info: PodInfo, **more: Any) -> PlacedPod:
    return PlacedPod(name, "default", name, node_name, info, **more)


class World:
    """Nodes with 2 cpus each, and who runs on them."""

    def __init__(self, *pods: PlacedPod, nodes: int = 1, cpu: int = 2000) -> None:
        self.table, self.objects = NodeTable(), ClusterObjects()
        for number in range(nodes):
            self.table.set_info(NodeInfo(f"n{number}", allocatable={"cpu": cpu, "memory": 1 << 34, "pods": 110}))
        for pod in pods:
            self.table.add_pod(pod)
        self.evaluator = Evaluator(builtin.DEFAULT, self.table, self.objects)

    def plan(self, info: PodInfo, nominated_node_name: str = "", nominated: tuple[PlacedPod, ...] = ()) -> Preemption:
        diagnosis = self.evaluator.explain(info, nominated)
        return default_preemption.plan(
            info,
            nominated_node_name,
            diagnosis,
            self.evaluator,
            self.table,
            self.objects,
            nominated,
            random.Random(1),
        )

    def victims(self, info: PodInfo) -> list[str]:
        candidate = self.plan(info).candidate
        return [victim.name for victim in candidate.victims] if candidate is not None else []


def test_only_as_many_go_as_must_and_the_least_important_first() -> None:
    world = World(placed("a", "n0", shape(3)), placed("b", "n0", shape(1)))
    assert world.victims(shape(10)) == ["b"]
    assert world.victims(shape(10, cpu=2000)) == ["a", "b"]


def test_among_equals_the_one_that_started_last_goes() -> None:
    world = World(placed("old", "n0", shape(1), start_time=1.0), placed("new", "n0", shape(1), start_time=2.0))
    assert world.victims(shape(10)) == ["new"]


def test_nobody_goes_for_a_pod_that_is_not_more_important() -> None:
    world = World(placed("a", "n0", shape(5)), placed("b", "n0", shape(5)))
    found = world.plan(shape(5))
    assert found.candidate is None
    assert found.message == ("preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.")


def test_nodes_on_which_removing_pods_would_not_help_are_told_apart() -> None:
    world = World(placed("a", "n0", shape(5, cpu=2000)), nodes=2)
    world.table.set_info(NodeInfo("n1", allocatable={"cpu": 500, "pods": 9}))
    assert world.plan(shape(5)).message == (
        "preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, "
        "1 Preemption is not helpful for scheduling."
    )


def test_a_pod_that_would_not_fit_even_then_says_what_is_missing() -> None:
    world = World(placed("vip", "n0", shape(50)), placed("a", "n0", shape(1)))
    assert world.plan(shape(10, cpu=2000)).message == ("preemption: 0/1 nodes are available: 1 Insufficient cpu.")


def test_a_disruption_budget_is_kept_where_another_can_go() -> None:
    world = World(
        placed("guarded", "n0", shape(1, labels={"app": "db"})), placed("free", "n0", shape(5, labels={"app": "web"}))
    )
    world.objects.budgets[("default", "db")] = BudgetInfo("default", equals({"app": "db"}), 0)
    found = world.plan(shape(10)).candidate
    assert found is not None
    assert ([victim.name for victim in found.victims], found.violations) == (["free"], 0)


def test_a_disruption_budget_does_not_save_the_last_that_can_go() -> None:
    world = World(placed("a", "n0", shape(1, cpu=2000, labels={"app": "db"})))
    world.objects.budgets[("default", "db")] = BudgetInfo("default", equals({"app": "db"}), 0)
    found = world.plan(shape(10)).candidate
    assert found is not None
    assert found.violations == 1


def test_a_pod_waits_for_the_victims_it_has_already_made_go() -> None:
    going = placed("a", "n0", shape(1, cpu=2000), terminating=True, preempted=True)
    found = World(going).plan(shape(10), nominated_node_name="n0")
    assert found.message == "preemption: not eligible due to a terminating pod on the nominated node."
    assert found.nominated_node_name is None


def test_room_promised_to_another_is_not_given_away() -> None:
    other = placed("promised", "n0", shape(20))
    world = World(placed("a", "n0", shape(1)))
    assert world.evaluator.choose(shape(10), random.Random(1), (other,)) is None
    found = world.plan(shape(10), nominated=(other,)).candidate
    assert found is not None
    assert [victim.name for victim in found.victims] == ["a"]


def candidate(name: str, *victims: tuple[int, float], violations: int = 0) -> Candidate:
    pods = tuple(
        placed(f"{name}-{number}", name, shape(priority), start_time=start)
        for number, (priority, start) in enumerate(victims)
    )
    return Candidate(name, pods, violations)


def test_candidates_are_compared_by_upstreams_criteria_in_order() -> None:
    violates = candidate("violates", (1, 0.0), violations=1)
    high = candidate("high", (9, 0.0))
    larger_sum = candidate("sum", (5, 0.0), (4, 0.0))
    smaller_sum = candidate("small", (5, 0.0), (-(2**31) + 1, 0.0))
    older = candidate("older", (5, 1.0))
    newer = candidate("newer", (5, 2.0))
    worst_first = [violates, high, larger_sum, smaller_sum, older, newer]
    for index, better in enumerate(worst_first[1:], 1):
        assert default_preemption.choose(worst_first[: index + 1]) is better


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from((500, 1000))), max_size=8), st.integers(1, 6))
def test_carrying_out_the_plan_makes_the_pod_fit_and_touches_no_equal(
    pods: list[tuple[int, int]], priority: int
) -> None:
    world = World(nodes=3)
    for number, (their, cpu) in enumerate(pods):
        info = shape(their, cpu)
        node = world.evaluator.choose(info, random.Random(number))
        if node is not None:
            world.table.add_pod(placed(f"p{number}", node, info))
    incoming = shape(priority, 2000)
    if world.evaluator.choose(incoming, random.Random(0)) is not None:
        return
    before = {node.name: set(world.table.pods_on(node.name)) for node in world.table.nodes}
    found = world.plan(incoming).candidate
    assert before == {node.name: set(world.table.pods_on(node.name)) for node in world.table.nodes}
    possible = any(
        sum(pod.info.requests["cpu"] for pod in on if pod.info.priority >= priority) == 0 for on in before.values()
    )
    assert (found is not None) == possible
    if found is None:
        return
    assert all(victim.info.priority < priority for victim in found.victims)
    for victim in found.victims:
        world.table.remove_pod(found.node_name, victim.uid)
    assert world.evaluator.fits(incoming, world.table.row_of[found.node_name]) is None
    # Sparing any one of them would be one too many.
    for victim in found.victims:
        with world.table.supposing(added=[victim]):
            assert world.evaluator.fits(incoming, world.table.row_of[found.node_name]) is not None


class _OnlyByAsking(Evaluator):
    """Takes nothing for decided: every plugin is asked about every pod that goes or stays."""

    def only_room_matters(self, pod: PodInfo) -> None:
        return None

    def _refusals(self, pod: PodInfo, counting: Sequence[PlacedPod], looks_around: bool) -> None:
        return None


@given(st.integers(0, 10**6))
@example(745)
def test_adding_and_subtracting_finds_the_victims_that_asking_every_plugin_finds(seed: int) -> None:
    chance = random.Random(seed)
    world = World(nodes=4, cpu=chance.choice((2000, 3000)))
    world.table.set_info(NodeInfo("n3", allocatable={"cpu": 4000, "memory": 1 << 34, "pods": 3}))
    ports = ((), (ContainerPort(container_port=80, host_port=80),))
    for number in range(chance.randrange(16)):
        info = shape(
            chance.randrange(-2, 9),
            chance.choice((0, 300, 500, 1000)),
            labels=chance.choice(({}, {"app": "db"})),
            ports=chance.choice(ports),
        )
        pod = placed(f"p{number}", f"n{chance.randrange(4)}", info, start_time=float(chance.randrange(3)))
        world.table.add_pod(pod)
    world.objects.budgets[("default", "db")] = BudgetInfo("default", equals({"app": "db"}), chance.randrange(3))
    promised = tuple(
        placed(f"q{number}", f"n{chance.randrange(4)}", shape(8, 500, ports=chance.choice(ports)))
        for number in range(chance.randrange(3))
    )
    incoming = shape(6, chance.choice((400, 1500, 3500)), ports=chance.choice(ports))
    slow = _OnlyByAsking(builtin.DEFAULT, world.table, world.objects)
    assert world.evaluator.feasible(incoming, promised).tolist() == slow.feasible(incoming, promised).tolist()
    if slow.feasible(incoming, promised).any():
        return
    quick, why_not = world.plan(incoming, nominated=promised), world.evaluator.explain(incoming, promised)
    assert why_not.message() == slow.explain(incoming, promised).message()
    world.evaluator = slow
    assert world.plan(incoming, nominated=promised) == quick


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32))
def test_victims_and_their_node_are_those_of_the_plain_scheduler(seed: int) -> None:
    """Every plugin has its say: ports, spread and affinity as well as room."""
    chance = random.Random(seed)
    world = random_world(chance, spread=chance.random() < 0.3, priorities=(-5, 0, 0, 3, 9))
    incoming = random_pod(chance, "incoming", spread=chance.random() < 0.3, priority=chance.choice((1, 5, 20)))
    columns = Columns(world)
    budgets = [
        PlainBudget(chance.choice(("default", "other")), LabelSelector(match_labels={"app": app}), chance.randint(0, 2))
        for app in "ab"
        if chance.random() < 0.5
    ]
    for number, budget in enumerate(budgets):
        columns.objects.budgets[(budget.namespace, str(number))] = BudgetInfo(
            budget.namespace, compile_selector(budget.selector), budget.disruptions_allowed
        )
    info = columns.shapes.of(incoming)
    if columns.evaluator.feasible(info).any():
        return
    plain = PlainPreemption(world, incoming, budgets)
    wanted = plain.on_every_node()
    possible = {name: found for name, found in wanted.items() if isinstance(found, Victims)}
    diagnosis = columns.evaluator.explain(info)
    found = default_preemption.plan(
        info, "", diagnosis, columns.evaluator, columns.table, columns.objects, (), chance, PreemptionLimits(100, 100)
    )
    if not possible:
        reasons = Counter(reason for one in wanted.values() if not isinstance(one, Victims) for reason in one)
        said = ", ".join(sorted(f"{number} {reason}" for reason, number in reasons.items()))
        assert found.message == f"preemption: 0/{len(world.nodes)} nodes are available: {said}."
        assert found.candidate is None
        return
    assert found.candidate is not None
    assert found.candidate.node_name in plain.best(possible)
    victims = possible[found.candidate.node_name]
    assert [one.uid for one in found.candidate.victims] == [pod.metadata.uid for pod in victims.pods]
    assert found.candidate.violations == victims.violations


def test_only_the_shapes_that_preempted_last_keep_what_they_know_of_nodes() -> None:
    table, shapes = NodeTable(), PodShapes()
    table.set_info(NodeInfo("n", allocatable={"cpu": 1000, "pods": 9}))
    evaluator = Evaluator(builtin.DEFAULT, table, ClusterObjects())
    made = [shapes.of(PodToPlace(metadata=ObjectMeta(labels={"n": str(number)}))) for number in range(100)]
    for info in made:
        evaluator.notes(info)["victims"] = info.labels
    assert [bool(evaluator.notes(info)) for info in made[-32:]] == [True] * 32
    assert not evaluator.notes(made[0])
