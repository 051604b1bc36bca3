"""Fields of which the older says the first of what the newer lists."""

from __future__ import annotations

from typing import Any

import pytest

from keelback.api.core_v1 import Node, Pod
from keelback.apimachinery import codecs
from keelback.registry.nodes import NodeStrategy
from keelback.registry.pods import PodStrategy


@pytest.mark.parametrize(
    ("older", "newer", "first", "listed"),
    [
        ("a", [], "a", ("a",)),
        ("", ["a", "b"], "a", ("a", "b")),
        ("b", ["a"], "b", ("b",)),
        ("a", ["a", "b"], "a", ("a", "b")),
        ("", [], "", ()),
    ],
)
def test_the_older_field_is_the_first_of_the_newer(older: str, newer: list[str], first: str, listed: Any) -> None:
    node = codecs.convert(Node, {"metadata": {"name": "n"}, "spec": {"podCIDR": older, "podCIDRs": newer}})
    spec = NodeStrategy().default(node).spec
    assert (spec.pod_cidr, spec.pod_cidrs) == (first, listed)
    status = {"podIP": older, "podIPs": [{"ip": one} for one in newer]}
    pod = codecs.convert(Pod, {"metadata": {"name": "p"}, "status": status})
    made = PodStrategy().prepare_for_status_update(pod, pod).status
    assert (made.pod_ip, tuple(one.ip for one in made.pod_ips)) == (first, listed)
