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
