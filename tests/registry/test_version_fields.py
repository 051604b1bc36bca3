"""What a version takes away from a value, and where it says that it has no schemas."""

from __future__ import annotations

import pytest

from keelback.api.core_v1 import Container, Pod, PodSpec
from keelback.apimachinery import codecs
from keelback.apimachinery.kubernetes_versions import SUPPORTED, KubernetesVersion
from keelback.registry import published_schemas
from keelback.registry.builtin import strategies
from keelback.registry.version_fields import Cut, VersionFields, without

POD = Pod(
    spec=PodSpec(
        hostname_override="other",
        host_users=False,
        containers=(Container(name="one", image="image"), Container(name="two", restart_policy="Always")),
    )
)


def test_what_has_nothing_to_lose_stays_the_same_object() -> None:
    cut = VersionFields(published_schemas.of_version(KubernetesVersion(28))).cut_of(Pod)
    assert cut is not None
    plain = Pod(spec=PodSpec(containers=(Container(name="one"),)))
    assert without(plain, cut) is plain
    assert without(POD, Cut()) is POD


def test_fields_that_a_version_does_not_have_are_lost_and_all_others_kept() -> None:
    published = published_schemas.of_version(KubernetesVersion(28))
    cut = VersionFields(published, frozenset({("Container", "restartPolicy")})).cut_of(Pod)
    assert cut is not None
    made = without(POD, cut)
    assert made.spec.hostname_override is None
    assert made.spec.host_users is False
    assert [one.name for one in made.spec.containers] == ["one", "two"]
    assert made.spec.containers[0] is POD.spec.containers[0]
    assert made.spec.containers[1].restart_policy is None
    assert without(made, cut) is made


def test_each_stored_kind_of_each_version_can_be_cut_when_it_is_empty() -> None:
    for version in SUPPORTED:
        fields = VersionFields(published_schemas.of_version(version))
        for strategy in strategies():
            cut = fields.cut_of(strategy.kind)
            if cut is not None:
                empty = codecs.convert(strategy.kind, {})
                assert without(empty, cut) is empty


def test_a_version_without_schemas_is_said_with_those_that_have_some() -> None:
    with pytest.raises(FileNotFoundError, match=r"no schemas of Kubernetes 1\.99: there is 1\.28, .*, 1\.37"):
        published_schemas.of_version(KubernetesVersion(99))
