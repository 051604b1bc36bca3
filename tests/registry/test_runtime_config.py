"""`--runtime-config`: what it turns on, and what it says of keys that mean nothing."""

from __future__ import annotations

import re

import pytest

from keelback.registry import optional_kinds
from keelback.registry.runtime_config import OPTIONAL, parse


def test_nothing_is_on_that_nobody_asked_for() -> None:
    assert parse({}) == ()
    assert parse({"api/ga": "true", "apps/v1": "true", "v1": "true"}) == ()


def test_a_version_overrules_its_stage() -> None:
    found = parse({"api/beta": "true", "storage.k8s.io/v1beta1": "false", "scheduling.k8s.io/v1alpha2": "true"})
    assert ("storage.k8s.io", "v1beta1") not in found
    assert ("scheduling.k8s.io", "v1alpha2") in found
    assert ("resource.k8s.io", "v1alpha3") not in found
    assert parse({"api/all": "true"}) == OPTIONAL
    assert all("alpha" not in version for _, version in parse({"api/all": "true", "api/alpha": "false"}))


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("batch/v1", "false", "batch/v1=false: what is served by default cannot be turned off"),
        ("api/all", "false", "api/all=false: the versions that are served by default cannot be turned off"),
        ("nothing/v1", "true", "unknown api groups nothing"),
        ("apps/v1beta1", "true", "group version apps/v1beta1 that has not been registered"),
        (
            "api/beta",
            "yes",
            'invalid value of api/beta: yes, err: strconv.ParseBool: parsing "yes": invalid syntax',
        ),
        (
            "networking.k8s.io/v1beta1/servicecidrs",
            "true",
            "networking.k8s.io/v1beta1/servicecidrs: single resources cannot be switched, only whole group versions",
        ),
    ],
)
def test_keys_that_mean_nothing_are_refused(key: str, value: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)) as refused:
        parse({key: value})
    assert str(refused.value) == problem


def test_every_optional_version_has_strategies() -> None:
    for group, version in OPTIONAL:
        kinds = [one.kind.__kind__ for one in optional_kinds.strategies(group, version)]
        assert kinds
        assert {(one.group, one.version) for one in kinds} == {(group, version)}
