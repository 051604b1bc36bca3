from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelback.apiserver import proxied_links
from keelback.apiserver.proxied_links import Seen

PREFIX = "/api/v1/namespaces/default/services/web/proxy"
SEEN = Seen("https", "cluster:6443", PREFIX, "10.0.0.1:80")


@pytest.mark.parametrize(
    ("link", "seen"),
    [
        ("/", f"{PREFIX}/"),
        ("/a/b?c=d#e", f"{PREFIX}/a/b?c=d#e"),
        ("/a/", f"{PREFIX}/a/"),
        ("//a/../b", "//a/../b"),
        ("http://10.0.0.1:80/a", f"https://cluster:6443{PREFIX}/a"),
        ("http://cluster:6443/a", f"https://cluster:6443{PREFIX}/a"),
        ("http://elsewhere/a", "http://elsewhere/a"),
        ("a", "a"),
        ("../a", "../a"),
        ("#a", "#a"),
        ("", ""),
        ("mailto:a@b", "mailto:a@b"),
        (f"{PREFIX}/a", f"{PREFIX}/a"),
        ("http://[", "http://["),
    ],
)
def test_links_lead_through_the_proxy(link: str, seen: str) -> None:
    assert SEEN.url(link) == seen


@pytest.mark.parametrize(
    ("document", "seen"),
    [
        ('<a href="/x">/x</a>', f'<a href="{PREFIX}/x">/x</a>'),
        ("<A\n HREF = '/x' title='/x'>", f"<A\n HREF = \"{PREFIX}/x\" title='/x'>"),
        ("<p>\n<img alt=y src=/x>", f'<p>\n<img alt=y src="{PREFIX}/x">'),
        ('<script src="/x">if (a < b) c = \'<a href="/y">\'</script>', None),
        ('<!-- <a href="/x"> --><p title="/x">&amp; &eacute;', None),
        ('<a href="/x?a=1&amp;b=2">', f'<a href="{PREFIX}/x?a=1&amp;b=2">'),
        ("<a href='x'", "<a href='x'"),
        ("<a href='/x'><![x[<a href='/y'>", f"<a href=\"{PREFIX}/x\"><![x[<a href='/y'>"),
    ],
)
def test_links_of_a_document_lead_through_the_proxy(document: str, seen: str | None) -> None:
    expected = seen or document.replace('src="/x"', f'src="{PREFIX}/x"')
    assert SEEN.document(document.encode()) == expected.encode()


@given(st.binary(max_size=200))
def test_what_has_no_links_is_left_byte_for_byte(content: bytes) -> None:
    assert SEEN.document(content.replace(b"=", b"")) == content.replace(b"=", b"")


def test_encodings_are_undone_within_bounds() -> None:
    assert proxied_links.decoded(b"x", "") == b"x"
    assert proxied_links.decoded(gzip.compress(b"x"), "gzip") == b"x"
    assert proxied_links.decoded(zlib.compress(b"x"), "deflate") == b"x"
    assert proxied_links.decoded(b"x", "gzip") is None
    assert proxied_links.decoded(b"x", "br") is None
    assert proxied_links.decoded(gzip.compress(b"x" * (proxied_links.MAX_HTML_BYTES + 1)), "gzip") is None
