from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
import pytest

from keelback.admission.always_admit import AlwaysAdmit, AlwaysDeny
from keelback.admission.deny_service_external_ips import DenyServiceExternalIPs
from keelback.admission.event_rate_limit import EventRateLimit, Limit
from keelback.admission.namespace_exists import NamespaceAutoProvision, NamespaceExists
from keelback.admission.owner_references_permission_enforcement import OwnerReferencesPermissionEnforcement
from keelback.admission.plugin import AdmissionChain, AdmissionPlugin, AdmissionRequest, Operation, Question
from keelback.admission.pod_node_selector import PodNodeSelector
from keelback.admission.pod_restrictions import (
    ExtendedResourceToleration,
    LimitPodHardAntiAffinityTopology,
    PodTolerationRestriction,
    PodTolerations,
)
from keelback.api.core_v1 import (
    Affinity,
    ConfigMap,
    Container,
    Event,
    Namespace,
    Pod,
    PodAffinityTerm,
    PodAntiAffinity,
    PodSpec,
    ResourceRequirements,
    Service,
    ServiceSpec,
    Toleration,
)
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Object, ObjectMeta, OwnerReference
from keelback.testing.clock import HandClock

T = TypeVar("T", bound=Object)


class Joe:
    name = "joe"
    uid = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, tuple[str, ...]] = {}


class Namespaces:
    def __init__(self, **annotations: str) -> None:
        wire = {f"scheduler.alpha.kubernetes.io/{key.replace('_', '-')}": value for key, value in annotations.items()}
        self.namespace = Namespace(metadata=ObjectMeta(name="x", annotations=wire))

    async def get(self, kind: type[T], name: str, namespace: str = "") -> T:
        if name != "x":
            raise errors.NotFound.of(Namespace.__kind__, name)
        return msgspec.convert(msgspec.to_builtins(self.namespace), kind)

    async def list(self, kind: type[T], namespace: str = "") -> Sequence[T]:
        raise NotImplementedError


def _run(plugin: AdmissionPlugin, obj: Object, old: Object | None = None) -> Any:
    request = AdmissionRequest(
        operation=Operation.CREATE if old is None else Operation.UPDATE,
        kind=obj.__kind__,
        user=Joe(),
        namespace=obj.metadata.namespace,
        name=obj.metadata.name,
        obj=obj,
        old_obj=old,
    )

    async def go() -> Any:
        chain = AdmissionChain([plugin])
        admitted = await chain.admit(request)
        await chain.validate(admitted)
        return admitted.obj

    return asyncio.run(go())


def _pod(**spec: Any) -> Pod:
    return Pod(metadata=ObjectMeta(name="a", namespace="x"), spec=PodSpec(**spec))


def test_a_namespace_says_on_which_nodes() -> None:
    plugin = PodNodeSelector(Namespaces(node_selector="env=test, disk=ssd"))
    assert _run(plugin, _pod(node_selector={"a": "b"})).spec.node_selector == {"env": "test", "disk": "ssd", "a": "b"}
    with pytest.raises(errors.Forbidden, match="conflicts with its namespace node label selector"):
        _run(plugin, _pod(node_selector={"env": "live"}))


def test_a_namespace_may_be_told_which_nodes_its_pods_can_ask_for() -> None:
    plugin = PodNodeSelector(Namespaces(), {"x": {"a": "b"}, "clusterDefaultNodeSelector": {"a": "b"}})
    assert _run(plugin, _pod()).spec.node_selector == {"a": "b"}
    with pytest.raises(errors.Forbidden, match="conflict with its namespace whitelist"):
        _run(plugin, _pod(node_selector={"c": "d"}))


def test_everything_can_be_allowed_and_denied() -> None:
    assert _run(AlwaysAdmit(), _pod()) == _pod()
    with pytest.raises(errors.Forbidden, match='pods "a" is forbidden: admission control is denying all modifications'):
        _run(AlwaysDeny(), _pod())
    assert AlwaysDeny().handles(Operation.DELETE, Pod.__kind__, "")
    assert AlwaysDeny().handles(Operation.CONNECT, Pod.__kind__, "exec")


def test_a_namespace_gives_and_limits_tolerations() -> None:
    only_a = '[{"key":"a","operator":"Exists"}]'
    plugin = PodTolerationRestriction(Namespaces(defaultTolerations=only_a, tolerationsWhitelist=only_a))
    assert [one.key for one in _run(plugin, _pod()).spec.tolerations] == ["a"]
    with pytest.raises(errors.Forbidden, match="conflict with its namespace whitelist"):
        _run(plugin, _pod(tolerations=(Toleration(key="b", operator="Exists"),)))


def test_a_cluster_gives_and_limits_tolerations_where_a_namespace_says_nothing() -> None:
    one, wide = Toleration(key="a", operator="Equal", value="b", effect="NoSchedule"), Toleration(operator="Exists")
    plugin = PodTolerationRestriction(Namespaces(), PodTolerations(default=(one,), whitelist=(one,)))
    assert _run(plugin, _pod()).spec.tolerations == (one,)
    with pytest.raises(errors.Forbidden, match="conflict with its cluster whitelist"):
        _run(plugin, _pod(tolerations=(wide,)))
    # What one toleration includes is not said twice; and who has asked for memory may go where it is short.
    assert _run(
        PodTolerationRestriction(Namespaces(), PodTolerations(default=(one,))), _pod(tolerations=(wide,))
    ).spec.tolerations == (wide,)
    asking = _pod(containers=(Container(name="c", resources=ResourceRequirements(requests={"memory": "1"})),))
    given = _run(PodTolerationRestriction(Namespaces()), asking).spec.tolerations
    assert [(one.key, one.effect) for one in given] == [("node.kubernetes.io/memory-pressure", "NoSchedule")]


def test_who_asks_for_a_device_tolerates_its_nodes() -> None:
    resources = ResourceRequirements(requests={"example.com/gpu": "1", "cpu": "1"})
    made = _run(ExtendedResourceToleration(), _pod(containers=(Container(name="c", resources=resources),)))
    assert made.spec.tolerations == (Toleration(key="example.com/gpu", operator="Exists"),)


def test_required_anti_affinity_is_about_nodes() -> None:
    def wanting(key: str) -> Pod:
        term = PodAffinityTerm(topology_key=key)
        anti = PodAntiAffinity(required_during_scheduling_ignored_during_execution=(term,))
        return _pod(affinity=Affinity(pod_anti_affinity=anti))

    _run(LimitPodHardAntiAffinityTopology(), wanting("kubernetes.io/hostname"))
    with pytest.raises(errors.Forbidden, match="has TopologyKey zone but only key"):
        _run(LimitPodHardAntiAffinityTopology(), wanting("zone"))


def test_external_addresses_may_stay_but_not_come() -> None:
    def service(*addresses: str) -> Service:
        return Service(metadata=ObjectMeta(name="s", namespace="x"), spec=ServiceSpec(external_ips=addresses))

    _run(DenyServiceExternalIPs(), service("192.0.2.1"), service("192.0.2.1"))
    with pytest.raises(errors.Forbidden, match="Use of external IPs is denied by admission control"):
        _run(DenyServiceExternalIPs(), service("192.0.2.1"))


def test_a_namespace_must_be_there_or_is_made() -> None:
    elsewhere = ConfigMap(metadata=ObjectMeta(name="m", namespace="y"))
    with pytest.raises(errors.NotFound):
        _run(NamespaceExists(Namespaces()), elsewhere)
    made: list[str] = []

    async def create(namespace: Namespace) -> None:
        made.append(namespace.metadata.name)

    _run(NamespaceAutoProvision(Namespaces(), create), elsewhere)
    _run(NamespaceAutoProvision(Namespaces(), create), ConfigMap(metadata=ObjectMeta(name="m", namespace="x")))
    assert made == ["y"]


def _owned(**reference: Any) -> ConfigMap:
    owner = OwnerReference(api_version="apps/v1", kind="Deployment", name="d", uid="u", **reference)
    return ConfigMap(metadata=ObjectMeta(name="m", namespace="x", owner_references=(owner,)))


def test_blocking_an_owners_deletion_needs_its_finalizers() -> None:
    asked: list[Question] = []

    async def is_allowed(question: Question) -> bool:
        asked.append(question)
        return False

    plugin = OwnerReferencesPermissionEnforcement(is_allowed, lambda api_version, kind: "deployments")
    _run(plugin, _owned())
    with pytest.raises(errors.Forbidden, match="a resource you can't set finalizers on"):
        _run(plugin, _owned(block_owner_deletion=True))
    assert (asked[0].verb, asked[0].group, asked[0].resource, asked[0].subresource) == (
        "update",
        "apps",
        "deployments",
        "finalizers",
    )
    unowned = ConfigMap(metadata=ObjectMeta(name="m", namespace="x"))
    with pytest.raises(errors.Forbidden, match="can't delete"):
        _run(plugin, _owned(), unowned)


def test_a_noisy_source_is_held_back_until_time_has_passed() -> None:
    clock = HandClock()
    plugin = EventRateLimit([Limit("Namespace", qps=1, burst=2)], clock)
    event = Event(metadata=ObjectMeta(name="e", namespace="x"))
    _run(plugin, event)
    _run(plugin, event)
    with pytest.raises(errors.TooManyRequests, match="limit reached on type Namespace for key x"):
        _run(plugin, event)
    _run(plugin, Event(metadata=ObjectMeta(name="e", namespace="other")))
    clock.seconds += 1
    _run(plugin, event)
