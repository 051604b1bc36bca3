from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelback.admission.limit_ranger import violations, with_defaults
from keelback.api.core_v1 import (
    Container,
    LimitRange,
    LimitRangeItem,
    LimitRangeSpec,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    Pod,
    PodSpec,
    ResourceRequirements,
    VolumeResourceRequirements,
)
from keelback.apimachinery.meta import ObjectMeta


def _range(**item: object) -> LimitRange:
    return LimitRange(
        metadata=ObjectMeta(name="l", namespace="x"),
        spec=LimitRangeSpec(limits=(LimitRangeItem(**{"type": "Container", **item}),)),  # type: ignore[arg-type]
    )


def _pod(requests: dict[str, str], limits: dict[str, str], count: int = 1) -> Pod:
    resources = ResourceRequirements(requests=requests, limits=limits)
    containers = tuple(Container(name=f"c{number}", resources=resources) for number in range(count))
    return Pod(metadata=ObjectMeta(name="a", namespace="x"), spec=PodSpec(containers=containers))


def test_defaults_fill_in_and_are_noted() -> None:
    limit_range = _range(default={"cpu": "200m", "memory": "1Gi"}, default_request={"cpu": "100m"})
    made = with_defaults(_pod({}, {"memory": "2Gi"}), limit_range)
    assert made.spec.containers[0].resources == ResourceRequirements(
        requests={"cpu": "100m"}, limits={"memory": "2Gi", "cpu": "200m"}
    )
    assert made.metadata.annotations == {
        "kubernetes.io/limit-ranger": "LimitRanger plugin set: cpu request for container c0; cpu limit for container c0"
    }
    assert with_defaults(made, limit_range) is made


@pytest.mark.parametrize(
    ("item", "requests", "limits", "text"),
    [
        ({"min": {"cpu": "1"}}, {}, {}, "minimum cpu usage per Container is 1.  No request is specified"),
        ({"min": {"cpu": "1"}}, {"cpu": "500m"}, {}, "minimum cpu usage per Container is 1, but request is 500m"),
        (
            {"min": {"cpu": "1"}},
            {"cpu": "2"},
            {"cpu": "500m"},
            "minimum cpu usage per Container is 1, but limit is 500m",
        ),
        ({"max": {"cpu": "1"}}, {"cpu": "500m"}, {}, "maximum cpu usage per Container is 1.  No limit is specified"),
        ({"max": {"cpu": "1"}}, {}, {"cpu": "2"}, "maximum cpu usage per Container is 1, but limit is 2"),
        (
            {"max_limit_request_ratio": {"cpu": "4"}},
            {"cpu": "100m"},
            {"cpu": "2"},
            "cpu max limit to request ratio per Container is 4, but provided ratio is 20.000000",
        ),
        (
            {"max_limit_request_ratio": {"cpu": "4"}},
            {},
            {"cpu": "2"},
            "cpu max limit to request ratio per Container is 4, but no request is specified or request is 0",
        ),
    ],
)
def test_a_violation_is_worded_as_upstream_words_it(
    item: dict[str, object], requests: dict[str, str], limits: dict[str, str], text: str
) -> None:
    assert list(violations(_pod(requests, limits), _range(**item))) == [text]


def test_a_pods_containers_count_together() -> None:
    limit_range = _range(type="Pod", max={"cpu": "1"})
    assert list(violations(_pod({}, {"cpu": "600m"}, count=2), limit_range)) == [
        "maximum cpu usage per Pod is 1, but limit is 1200m"
    ]


def test_a_claim_has_bounds_too() -> None:
    claim = PersistentVolumeClaim(
        spec=PersistentVolumeClaimSpec(resources=VolumeResourceRequirements(requests={"storage": "1Gi"}))
    )
    limit_range = _range(type="PersistentVolumeClaim", min={"storage": "2Gi"})
    assert list(violations(claim, limit_range)) == [
        "minimum storage usage per PersistentVolumeClaim is 2Gi, but request is 1Gi"
    ]


@given(st.integers(1, 64), st.integers(1, 64), st.integers(1, 64))
def test_within_the_bounds_nothing_is_wrong(least: int, asked: int, more: int) -> None:
    pod = _pod({"cpu": str(least + asked)}, {"cpu": str(least + asked + more)})
    limit_range = _range(min={"cpu": str(least)}, max={"cpu": str(least + asked + more)})
    assert list(violations(pod, limit_range)) == []
