"""An operator and its admission webhook in a cluster that acts on what they do, faults included."""

from pathlib import Path

import pytest
import websites

from keelback.apimachinery.errors import StatusError
from keelback.testing.webhook_functions import Refused

HERE = Path(__file__).parent


def a_website(**spec):
    """A Website `shop`."""
    metadata = {"name": "shop"}
    given = {"image": "registry.example/shop:1", **spec}
    return {"apiVersion": "example.com/v1", "kind": "Website", "metadata": metadata, "spec": given}


@pytest.fixture
def operated(cluster):
    """The cluster with the operator's kind, controller and webhook."""

    def check_website(request):
        if problem := websites.why_not(request.object):
            raise Refused(problem)

    cluster.apply(HERE / "crd.yaml")
    cluster.validate("websites", check_website)
    cluster.control("websites", websites.website)
    return cluster


def test_a_website_is_served(operated):
    """It gets its copies, its Service, and says so."""
    operated.apply(a_website())
    operated.wait("website/shop", "status.readyReplicas=2")
    assert operated.get("service/shop")["spec"]["ports"][0]["port"] == 80


def test_what_somebody_else_changes_is_put_right(operated):
    """The operator is the one who says how many copies there are."""
    operated.apply(a_website())
    operated.wait("website/shop", "status.readyReplicas=2")
    operated.patch("deployment/shop", {"spec": {"replicas": 7}})
    operated.wait("deployment/shop", "status.readyReplicas=2")
    operated.delete("service/shop")
    operated.wait("service/shop", "exists")


@pytest.mark.parametrize("image", ["elsewhere.example/shop:1", "registry.example/shop"])
def test_a_website_from_elsewhere_is_refused(operated, image):
    """By the webhook, with its words."""
    with pytest.raises(StatusError, match=f"image {image} "):
        operated.apply(a_website(image=image))


def test_what_belongs_to_a_website_goes_with_it(operated):
    """The garbage collector sees to it, by the owner that the operator set."""
    operated.apply(a_website())
    operated.wait("website/shop", "status.readyReplicas=2")
    operated.advance(minutes=1)  # the collector looks twice a minute for kinds that are new
    operated.delete("website/shop")
    operated.wait("deployment/shop", "deleted")
    operated.wait("service/shop", "deleted")


def test_the_operator_lives_through_a_bad_hour(operated):
    """Conflicts and a server that is overloaded delay it; that is all."""
    with (
        operated.inject(client="website", status=409, times=5),
        operated.inject(client="website", status=503, retry_after=1, probability=0.2),
    ):
        operated.apply(a_website(replicas=3))
        operated.wait("website/shop", "status.readyReplicas=3", timeout=3600)
