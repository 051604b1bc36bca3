"""What holds of the plans for volumes and for taking over, whatever they are given."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from keelback.api import owners, taints
from keelback.api.core_v1 import (
    ConfigMap,
    CSIPersistentVolumeSource,
    EphemeralVolumeSource,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimStatus,
    PersistentVolumeClaimTemplate,
    PersistentVolumeSpec,
    Pod,
    PodSpec,
    Taint,
    Volume,
    VolumeResourceRequirements,
)
from keelback.api.storage_v1 import (
    VolumeAttachment,
    VolumeAttachmentSource,
    VolumeAttachmentSpec,
    VolumeAttachmentStatus,
)
from keelback.apimachinery.meta import ObjectMeta, OwnerReference, replace
from keelback.controllers import adoption, attach_detach, ephemeral_volumes, volume_expansion
from keelback.controllers.observed import (
    HeldMeta,
    NodeConditionView,
    NodeSpecView,
    NodeStatusView,
    NodeView,
)

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
VOLUMES = ("one", "two", "three")
NODES = ("a", "b")
FORCED_AFTER = 360

names = st.sets(st.sampled_from(VOLUMES))
places = st.sets(st.tuples(st.sampled_from(VOLUMES), st.sampled_from(NODES)))
away = st.none() | st.integers(0, 2 * FORCED_AFTER)


def volume(name: str, *, is_shared: bool) -> PersistentVolume:
    modes = ("ReadWriteMany",) if is_shared else ("ReadWriteOnce",)
    csi = CSIPersistentVolumeSource(driver="csi.example.com", volume_handle=name)
    return PersistentVolume(metadata=ObjectMeta(name=name), spec=PersistentVolumeSpec(access_modes=modes, csi=csi))


def attachment(name: str, node: str) -> VolumeAttachment:
    source = VolumeAttachmentSource(persistent_volume_name=name)
    spec = VolumeAttachmentSpec(attacher="csi.example.com", node_name=node, source=source)
    metadata = ObjectMeta(name=f"{name}-{node}", uid=f"{name}-{node}")
    return VolumeAttachment(metadata=metadata, spec=spec, status=VolumeAttachmentStatus(attached=True))


def node(name: str, in_use: set[str], away_for: int | None, *, is_out_of_service: bool) -> NodeView:
    ready = NodeConditionView(type="Ready", status="True")
    if away_for is not None:
        ready = replace(ready, status="Unknown", last_transition_time=NOW - timedelta(seconds=away_for))
    mounted = tuple(attach_detach.volume_name(volume(one, is_shared=False)) for one in sorted(in_use))
    held = (Taint(key=taints.OUT_OF_SERVICE, effect="NoExecute"),) if is_out_of_service else ()
    return NodeView(
        metadata=HeldMeta(name=name),
        spec=NodeSpecView(taints=held),
        status=NodeStatusView(conditions=(ready,), volumes_in_use=mounted),
    )


def carried_out(
    node: NodeView, decided: attach_detach.Plan, attachments: list[VolumeAttachment]
) -> list[VolumeAttachment]:
    going = {one.metadata.uid for one in decided.detach}
    staying = [one for one in attachments if one.metadata.uid not in going]
    return [*staying, *(attachment(one.metadata.name, node.metadata.name) for one in decided.attach)]


@given(names, places, names, names, away, st.booleans(), st.booleans())
def test_volumes_go_where_they_are_wanted_and_never_away_from_who_has_them_mounted(
    wanted: set[str],
    attached: set[tuple[str, str]],
    shared: set[str],
    in_use: set[str],
    away_for: int | None,
    is_out_of_service: bool,
    forces: bool,
) -> None:
    volumes = {name: volume(name, is_shared=name in shared) for name in VOLUMES}
    attachments = [attachment(*place) for place in sorted(attached)]
    here = node("a", in_use, away_for, is_out_of_service=is_out_of_service)
    asked: Mapping[str, PersistentVolume] = {name: volumes[name] for name in sorted(wanted)}
    decided = attach_detach.plan(here, asked, attachments, volumes, NOW, forces=forces)

    may_force = is_out_of_service or (forces and away_for is not None and away_for >= FORCED_AFTER)
    for one in decided.detach:
        assert one.spec.node_name == "a"
        assert one.spec.source.persistent_volume_name not in wanted
        assert one.spec.source.persistent_volume_name not in in_use or may_force
    after = carried_out(here, decided, attachments)
    for name in VOLUMES:
        where = [one.spec.node_name for one in after if one.spec.source.persistent_volume_name == name]
        assert len(where) == len(set(where))
        if name not in shared and {(name, "a"), (name, "b")} - attached:
            assert len(where) <= 1
    refused = {one.metadata.name for one, _ in decided.refused}
    assert wanted == refused | {
        one.spec.source.persistent_volume_name
        for one in after
        if one.spec.node_name == "a" and one.spec.source.persistent_volume_name in wanted
    }

    again = attach_detach.plan(here, asked, after, volumes, NOW, forces=forces)
    assert (again.attach, again.detach) == ((), ())
    assert again.again_after_seconds == decided.again_after_seconds
    if decided.again_after_seconds is not None:
        later = NOW + timedelta(seconds=decided.again_after_seconds)
        assert attach_detach.plan(here, asked, after, volumes, later, forces=forces).detach
    told = {one.name for one in attach_detach.attached_volumes(here, after, volumes)}
    assert told == {
        attach_detach.volume_name(volumes[one.spec.source.persistent_volume_name or ""])
        for one in after
        if one.spec.node_name == "a"
    }


@given(st.integers(0, 9), st.integers(0, 9), st.booleans(), st.sampled_from(["Bound", "Pending", "Lost"]))
def test_a_claim_wants_more_until_it_has_what_it_asks_for(asked: int, has: int, is_bound: bool, phase: str) -> None:
    def claim(capacity: int) -> PersistentVolumeClaim:
        return PersistentVolumeClaim(
            spec=PersistentVolumeClaimSpec(
                volume_name="one" if is_bound else "",
                resources=VolumeResourceRequirements(requests={"storage": f"{asked}Gi"}),
            ),
            status=PersistentVolumeClaimStatus(phase=phase, capacity={"storage": f"{capacity * 1024}Mi"}),
        )

    wants = volume_expansion.wants_more(claim(has))
    assert wants == (is_bound and phase == "Bound" and asked > has)
    assert not volume_expansion.wants_more(claim(max(asked, has)))


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), unique_by=lambda one: one[0], max_size=4))
def test_each_ephemeral_volume_has_one_claim_that_goes_with_its_pod(told: list[tuple[str, bool]]) -> None:
    template = PersistentVolumeClaimTemplate(
        metadata=ObjectMeta(labels={"a": "b"}), spec=PersistentVolumeClaimSpec(access_modes=("ReadWriteOnce",))
    )
    source = EphemeralVolumeSource(volume_claim_template=template)
    pod = Pod(
        metadata=ObjectMeta(name="web", namespace="shop", uid="u1"),
        spec=PodSpec(volumes=tuple(Volume(name=name, ephemeral=source if is_its else None) for name, is_its in told)),
    )
    claims = ephemeral_volumes.wanted_claims(pod)
    assert [one.metadata.name for one in claims] == [f"web-{name}" for name, is_its in told if is_its]
    for claim in claims:
        assert owners.is_controlled_by(claim, pod)
        assert (claim.metadata.namespace, claim.spec, claim.metadata.labels) == ("shop", template.spec, {"a": "b"})


@given(
    st.lists(st.tuples(st.sampled_from(["mine", "other", "nobody"]), st.booleans(), st.booleans()), max_size=6),
    st.booleans(),
)
def test_nobody_takes_what_another_has_and_what_is_decided_stays_decided(
    told: list[tuple[str, bool, bool]], is_going: bool
) -> None:
    owner = ConfigMap(metadata=ObjectMeta(name="owner", uid="mine", deletion_timestamp=NOW if is_going else None))

    def candidate(number: int, whose: str, matches: bool, is_leaving: bool) -> ConfigMap:
        reference = OwnerReference(kind="ConfigMap", name="owner", uid=whose, controller=True)
        return ConfigMap(
            metadata=ObjectMeta(
                name=f"c{number}",
                labels={"app": "web"} if matches else {},
                owner_references=() if whose == "nobody" else (reference,),
                deletion_timestamp=NOW if is_leaving else None,
            )
        )

    selects = adoption.by_labels({"app": "web"})
    candidates = [candidate(number, *one) for number, one in enumerate(told)]
    claims = adoption.plan_claims(owner, selects, candidates)
    whose = {f"c{number}": one[0] for number, one in enumerate(told)}
    assert {whose[one.metadata.name] for one in (*claims.owned, *claims.release)} <= {"mine"}
    assert {whose[one.metadata.name] for one in claims.adopt} <= {"nobody"}
    assert len({one.metadata.name for one in (*claims.owned, *claims.adopt, *claims.release)}) == len(
        claims.owned
    ) + len(claims.adopt) + len(claims.release)
    assert not (is_going and (claims.adopt or claims.release))

    def after(one: ConfigMap) -> ConfigMap:
        reference = OwnerReference(kind="ConfigMap", name="owner", uid="mine", controller=True)
        if one in claims.adopt:
            return replace(one, metadata=replace(one.metadata, owner_references=(reference,)))
        return replace(one, metadata=replace(one.metadata, owner_references=())) if one in claims.release else one

    again = adoption.plan_claims(owner, selects, map(after, candidates))
    assert (again.adopt, again.release) == ((), ())
    assert {one.metadata.name for one in again.owned} == {one.metadata.name for one in (*claims.owned, *claims.adopt)}
