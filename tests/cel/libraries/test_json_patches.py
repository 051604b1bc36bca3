"""Keys of JSON patches are escaped as RFC 6901 says."""

from __future__ import annotations

from collections.abc import Callable


def test_slashes_and_tildes_are_escaped(evaluate: Callable[..., object]) -> None:
    assert evaluate("'/metadata/labels/' + jsonpatch.escapeKey('k8s.io/my~label')") == (
        "/metadata/labels/k8s.io~1my~0label"
    )
