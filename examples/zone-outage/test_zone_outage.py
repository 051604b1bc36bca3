"""A zone is lost: the application is whole again in the others, within a time that the test states."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from keelback.simulation.fleets import nodes

HERE = Path(__file__).parent
ZONES = {node.name: f"zone-{index % 3}" for index, node in enumerate(nodes(9))}
NODES = tuple(replace(node, labels={"topology.kubernetes.io/zone": ZONES[node.name]}) for node in nodes(9))


def running_by_zone(cluster):
    """How many pods each zone has, those left out that are on their way out."""
    pods = cluster.list("pods", label_selector="app=web")
    return Counter(ZONES[pod["spec"]["nodeName"]] for pod in pods if "deletionTimestamp" not in pod["metadata"])


@pytest.mark.keelback(nodes=NODES)
def test_a_zone_is_lost(cluster):
    """It is noticed within a minute, and made good within two."""
    cluster.apply(HERE / "web.yaml")
    cluster.wait("deployment/web", "status.readyReplicas=6")
    assert running_by_zone(cluster) == {"zone-0": 2, "zone-1": 2, "zone-2": 2}

    lost_at = cluster.now
    for name, zone in ZONES.items():
        if zone == "zone-1":
            cluster.disconnect(name)

    cluster.wait("deployment/web", "status.readyReplicas=4")
    noticed = cluster.now - lost_at
    cluster.wait("deployment/web", "status.readyReplicas=6")
    whole_again = cluster.now - lost_at

    assert running_by_zone(cluster) == {"zone-0": 3, "zone-2": 3}
    assert noticed.total_seconds() <= 60
    assert whole_again.total_seconds() <= 120
