"""`--runtime-config`: what it turns on, and what it says of keys that mean nothing."""

from __future__ import annotations

import re

import pytest

from keelback.registry import optional_kinds
from keelback.registry.runtime_config import OPTIONAL, hidden, is_hidden, parse


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
        ("v1", "false", "v1=false: the server itself needs it"),
        (
            "rbac.authorization.k8s.io/v1/roles",
            "false",
            "rbac.authorization.k8s.io/v1/roles=false: the server itself needs it",
        ),
        ("api/all", "false", "api/all=false: the versions that the server itself needs cannot be turned off"),
        ("nothing/v1", "true", "unknown api groups nothing"),
        ("apps/v1beta1", "true", "group version apps/v1beta1 that has not been registered"),
        (
            "api/beta",
            "yes",
            'invalid value of api/beta: yes, err: strconv.ParseBool: parsing "yes": invalid syntax',
        ),
        ("apps/v1/a/b", "true", "group version apps/v1 that has not been registered"),
    ],
)
def test_keys_that_mean_nothing_are_refused(key: str, value: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)) as refused:
        parse({key: value})
    assert str(refused.value) == problem


@pytest.mark.parametrize(
    ("given", "optional", "away", "there"),
    [
        ({"apps/v1": "false"}, (), ("apps/v1/deployments",), ("batch/v1/jobs",)),
        ({"batch/v1/cronjobs": "false"}, (), ("batch/v1/cronjobs",), ("batch/v1/jobs",)),
        ({"apps/v1": "false", "apps/v1/deployments": "true"}, (), ("apps/v1/replicasets",), ("apps/v1/deployments",)),
        (
            {"networking.k8s.io/v1beta1/servicecidrs": "true"},
            (("networking.k8s.io", "v1beta1"),),
            ("networking.k8s.io/v1beta1/ipaddresses",),
            ("networking.k8s.io/v1beta1/servicecidrs",),
        ),
        (
            {"networking.k8s.io/v1beta1": "true", "networking.k8s.io/v1beta1/servicecidrs": "false"},
            (("networking.k8s.io", "v1beta1"),),
            ("networking.k8s.io/v1beta1/servicecidrs",),
            ("networking.k8s.io/v1beta1/ipaddresses",),
        ),
    ],
)
def test_versions_and_single_resources_can_be_switched(
    given: dict[str, str], optional: tuple[tuple[str, str], ...], away: tuple[str, ...], there: tuple[str, ...]
) -> None:
    assert parse(given) == optional
    found = hidden(given)
    assert all(is_hidden(found, *one.split("/")) for one in away)
    assert not any(is_hidden(found, *one.split("/")) for one in there)


def test_every_optional_version_has_strategies() -> None:
    for group, version in OPTIONAL:
        kinds = [one.kind.__kind__ for one in optional_kinds.strategies(group, version)]
        assert kinds
        assert {(one.group, one.version) for one in kinds} == {(group, version)}
