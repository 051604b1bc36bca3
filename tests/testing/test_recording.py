"""Every write of a test's cluster, with what there was before it."""

from __future__ import annotations

from keelback.testing.cluster import Cluster
from keelback.testing.recording import replayed

_CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"a": "1"}}


def test_each_write_is_told_with_what_was_there_before() -> None:
    with Cluster(controllers=False) as cluster:
        recording = cluster.record()
        cluster.apply(_CONFIG_MAP)
        cluster.patch("configmap/one", {"data": {"a": "2"}})
        cluster.delete("configmap/one")
        written = [write for write in recording.writes if write.key == "/registry/configmaps/default/one"]
        found = [tuple(tree and tree["data"]["a"] for tree in (write.before, write.after)) for write in written]
    assert found == [(None, "1"), ("1", "2"), ("2", None)]
    assert [write.is_deletion for write in written] == [False, False, True]
    assert {write.resource for write in written} == {"configmaps"}


def test_what_was_there_when_it_began_comes_first() -> None:
    with Cluster(controllers=False) as cluster:
        cluster.apply(_CONFIG_MAP)
        recording = cluster.record()
        cluster.advance(1)
        *_, (_, held) = replayed(recording.writes)
    assert held["/registry/configmaps/default/one"]["data"] == {"a": "1"}


def test_requests_are_told_with_who_made_them() -> None:
    with Cluster(nodes=1) as cluster:
        recording = cluster.record()
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "new"}})
        cluster.advance(1)
    assert ("kube-controller-manager/service-account-controller", "create", "serviceaccounts") in {
        (one.client, one.verb, one.resource) for one in recording.asked
    }
