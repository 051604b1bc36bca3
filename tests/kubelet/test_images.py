"""Which credentials are for which image, and what an image is called."""

from __future__ import annotations

import base64
import json

import pytest

from keelback.api.core_v1 import Secret
from keelback.kubelet.images import credentials_for, with_default_tag


def a_secret(**entries):
    document = json.dumps({"auths": entries}).encode()
    return Secret(type="kubernetes.io/dockerconfigjson", data={".dockerconfigjson": document})


@pytest.mark.parametrize(
    ("image", "full"),
    [
        ("nginx", "nginx:latest"),
        ("nginx:1", "nginx:1"),
        ("host:5000/a/b", "host:5000/a/b:latest"),
        ("a@sha256:0", "a@sha256:0"),
    ],
)
def test_an_image_without_a_tag_is_the_latest(image, full):
    assert with_default_tag(image) == full


def test_the_most_specific_registry_comes_first():
    secret = a_secret(
        **{
            "example.com": {"username": "all", "password": "x"},
            "https://example.com/team": {"auth": base64.b64encode(b"team:y").decode()},
            "other.com": {"username": "no", "password": "z"},
        }
    )
    assert [one.username for one in credentials_for("example.com/team/app:1", [secret])] == ["team", "all"]
    assert [one.username for one in credentials_for("example.com/teamless:1", [secret])] == ["all"]


def test_docker_hub_has_two_names():
    secret = a_secret(**{"https://index.docker.io/v1/": {"username": "hub", "password": "x"}})
    assert [one.username for one in credentials_for("nginx", [secret])] == ["hub"]
    assert credentials_for("example.com/nginx", [secret]) == []


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"auths": 3}'])
def test_a_broken_secret_gives_no_credentials(data):
    secret = Secret(type="kubernetes.io/dockerconfigjson", data={".dockerconfigjson": data})
    assert credentials_for("nginx", [secret]) == []


@pytest.mark.parametrize(
    ("place", "image", "is_for"),
    [
        ("*.example.com", "eu.example.com/app:1", True),
        ("*.example.com/team", "eu.example.com/team/app:1", True),
        ("*.example.com/team", "eu.example.com/teamless:1", False),
        ("*.example.com", "a.b.example.com/app", False),
        ("*.example.com:5000", "eu.example.com:5000/app", True),
        ("*.example.com", "example.com/app", False),
    ],
)
def test_a_star_stands_for_one_label(place, image, is_for):
    found = credentials_for(image, [a_secret(**{place: {"username": "u", "password": "p"}})])
    assert bool(found) is is_for
