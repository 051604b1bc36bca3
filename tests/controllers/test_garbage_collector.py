"""The garbage collector and kinds that come and go."""

from __future__ import annotations

import pytest

from keelback.apimachinery import errors
from keelback.testing.cluster import Cluster

DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: sites.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: sites, singular: site, kind: Site}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
"""


def test_an_owner_of_a_kind_that_was_not_known_yet_is_judged_once_it_is() -> None:
    with Cluster(nodes=1, heartbeat_seconds=300) as cluster:
        cluster.apply(DEFINITION)
        # All of this is over before the collector asks which kinds there are.
        [site] = cluster.apply({"apiVersion": "example.com/v1", "kind": "Site", "metadata": {"name": "blog"}})
        owner = {key: site[key] for key in ("apiVersion", "kind")}
        owner |= {key: site["metadata"][key] for key in ("name", "uid")}
        metadata = {"name": "page", "ownerReferences": [owner]}
        cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
        cluster.delete("site/blog")
        cluster.advance(minutes=6)
        with pytest.raises(errors.NotFound):
            cluster.get("configmap/page")


def test_what_has_got_another_owner_since_it_was_judged_stays() -> None:
    with Cluster(nodes=1, heartbeat_seconds=300) as cluster:
        first, second = (_config_map(cluster, name) for name in ("first", "second"))
        _config_map(cluster, "page", first)
        slow = {"client": "kube-controller-manager/generic-garbage-collector", "verb": "delete", "latency": 5.0}
        with cluster.inject(**slow):
            cluster.delete("configmap/first")
            cluster.patch("configmap/page", {"metadata": {"ownerReferences": [first, second]}})
            cluster.advance(30.0)
        assert cluster.get("configmap/page")["metadata"]["ownerReferences"] == [second]


def test_an_owner_elsewhere_is_none_and_it_is_said_so() -> None:
    with Cluster(nodes=1, heartbeat_seconds=300) as cluster:
        owner = _config_map(cluster, "first")
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}})
        page = {"name": "page", "namespace": "other", "ownerReferences": [owner]}
        cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": page}, namespace="other")
        cluster.advance(30.0)
        with pytest.raises(errors.NotFound):
            cluster.get("configmap/page", namespace="other")
        [said] = cluster.events("page", namespace="other")
        meant = f"[v1/ConfigMap, namespace: other, name: first, uid: {owner['uid']}]"
        assert (said["reason"], said["type"]) == ("OwnerRefInvalidNamespace", "Warning")
        assert said["message"] == f'ownerRef {meant} does not exist in namespace "other"'


def _config_map(cluster: Cluster, name: str, *owners: dict[str, str]) -> dict[str, str]:
    """How others name it as their owner."""
    metadata = {"name": name, "ownerReferences": list(owners)}
    [made] = cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    return {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": made["metadata"]["uid"]}
