"""Which texts name an image."""

from __future__ import annotations

import pytest

from keelback.kubelet import image_reference

_DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "image",
    [
        "nginx",
        "nginx:1.27",
        "library/nginx",
        "localhost/keelback-sample:latest",
        "localhost:5000/a/b",
        "registry.example.com/a/b__c/d--e:V1_2.3",
        f"a@{_DIGEST}",
        f"a:b@{_DIGEST}",
        "[::1]:5000/a",
        "UPPER/a",  # a host, for it is not lower case
    ],
)
def test_what_names_an_image(image: str) -> None:
    assert image_reference.problem(image) == ""


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        ("Bad Image", "invalid reference format: repository name (library/Bad Image) must be lowercase"),
        ("bad image", "invalid reference format"),
        ("a:", "invalid reference format"),
        ("a//b", "invalid reference format"),
        ("-a", "invalid reference format"),
        ("a@sha256:12", "invalid reference format"),
        ("Nginx", "invalid reference format: repository name (library/Nginx) must be lowercase"),
        ("docker.io/A/b", "invalid reference format: repository name (A/b) must be lowercase"),
        ("0" * 64, f"invalid repository name ({'0' * 64}), cannot specify 64-byte hexadecimal strings"),
        ("a" * 5000, "invalid reference format"),
    ],
)
def test_what_names_none(image: str, problem: str) -> None:
    assert image_reference.problem(image) == problem
