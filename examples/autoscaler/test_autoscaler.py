"""The load of a sale comes at once: how long is the application too small for it, and does it become small again?"""

from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.keelback(metrics=True)
def test_a_sale(cluster):
    """Load that nine pods can carry comes all at once, and goes again."""
    cluster.apply(HERE / "web.yaml")
    cluster.wait("deployment/web", "Available")
    cluster.set_usage("app=web", cpu="600m", shared=True)
    cluster.advance(minutes=10)
    assert cluster.get("deployment/web")["status"]["replicas"] == 2

    began = cluster.now
    cluster.set_usage("app=web", cpu="2700m", shared=True)
    cluster.wait("deployment/web", "status.readyReplicas=9", timeout=600)
    assert (cluster.now - began).total_seconds() < 300

    ended = cluster.now
    cluster.set_usage("app=web", cpu="600m", shared=True)
    cluster.wait("deployment/web", "status.replicas=2", timeout=1200)
    # It is small again, but not before five minutes: another wave may follow.
    assert 300 <= (cluster.now - ended).total_seconds() < 600
