"""The exact bytes: spliced versions, events, bookmarks, list heads and continue tokens."""

from __future__ import annotations

import base64

import pytest

from keelback.apimachinery.errors import BadRequest
from keelback.apiserver.shared_parts import SharedParts
from keelback.apiserver.watch_index import Entry
from keelback.apiserver.watch_paging import decode_continue, encode_continue
from keelback.apiserver.watch_wire import CachedResource, WatchRecord, WireForm

EMPTY = Entry("/registry/a", (b"{}", b"", b""), 1)
SECRETS = WireForm(CachedResource(prefix="/registry/secrets/", kind="Secret", api_version="v1"))
WIDGETS = WireForm(
    CachedResource(prefix="/registry/x.io/widgets/", kind="Widget", api_version="x.io/v1", keeps_type=True)
)
PODS = WireForm(
    CachedResource(
        prefix="/registry/pods/",
        kind="Pod",
        api_version="v1",
        bookmark_tail=b',"spec":{"containers":null},"status":{}',
    )
)


def item_of(wire: WireForm, value: bytes, revision: int) -> bytes:
    return b"".join(wire.pieces(value, revision, SharedParts()))


def test_a_built_in_item_has_its_version_first_and_no_type() -> None:
    item = item_of(SECRETS, b'{"kind":"Secret","apiVersion":"v1","metadata":{"name":"a"}}', 7)
    assert item == b'{"metadata":{"resourceVersion":"7","name":"a"}}'
    assert SECRETS.object(item) == b'{"kind":"Secret","apiVersion":"v1","metadata":{"resourceVersion":"7","name":"a"}}'
    assert SECRETS.at_revision(item, 7, 1234) == b'{"metadata":{"resourceVersion":"1234","name":"a"}}'


def test_a_custom_item_is_the_whole_object() -> None:
    item = item_of(WIDGETS, b'{"kind":"Widget","apiVersion":"x.io/v1","metadata":{"name":"a"},"spec":1}', 99)
    whole = b'{"kind":"Widget","apiVersion":"x.io/v1","metadata":{"resourceVersion":"99","name":"a"},"spec":1}'
    assert item == WIDGETS.object(item) == whole
    assert WIDGETS.at_revision(item, 99, 100) == whole.replace(b"99", b"100")


def test_a_value_of_another_type_is_refused() -> None:
    with pytest.raises(ValueError, match="not a stored Secret"):
        item_of(SECRETS, b'{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a"}}', 7)


@pytest.mark.parametrize(
    ("wire", "bookmark"),
    [
        (SECRETS, b'{"kind":"Secret","apiVersion":"v1","metadata":{"resourceVersion":"5"}}'),
        (WIDGETS, b'{"kind":"Widget","apiVersion":"x.io/v1","metadata":{"resourceVersion":"5"}}'),
        (
            PODS,
            b'{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"5"},'
            b'"spec":{"containers":null},"status":{}}',
        ),
    ],
)
def test_a_bookmark_has_type_and_version(wire: WireForm, bookmark: bytes) -> None:
    record = WatchRecord("BOOKMARK", wire, wire.bookmark(5), 5)
    assert record.object == bookmark
    assert record.line == b'{"type":"BOOKMARK","object":' + bookmark + b"}\n"


def test_a_list_has_upstreams_form() -> None:
    assert b"".join(SECRETS.list_body([], 3, "", None)) == (
        b'{"kind":"SecretList","apiVersion":"v1","metadata":{"resourceVersion":"3"},"items":[]}'
    )
    assert b"".join(SECRETS.list_body([EMPTY, EMPTY], 3, "token", 4)) == (
        b'{"kind":"SecretList","apiVersion":"v1","metadata":{"resourceVersion":"3","continue":"token",'
        b'"remainingItemCount":4},"items":[{},{}]}'
    )
    assert b'"metadata":{"resourceVersion":"3","continue":""}' in b"".join(WIDGETS.list_body([EMPTY], 3, "", None))


def test_a_continue_token_is_upstreams() -> None:
    token = encode_continue(10, "default/a\0")
    assert "=" not in token
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    assert raw == b'{"v":"meta.k8s.io/v1","rv":10,"start":"default/a\\u0000"}'
    assert decode_continue(token) == (10, "default/a\0")


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"{", "unexpected end of JSON input"),
        (b'{"v":"v2","rv":1,"start":"a"}', "does not recognize"),
        (b'{"v":"meta.k8s.io/v1","start":"a"}', "resourceVersion"),
        (b'{"v":"meta.k8s.io/v1","rv":1}', "start key empty"),
        (b'{"v":"meta.k8s.io/v1","rv":1,"start":"../other/a"}', "not valid"),
        (b'{"v":"meta.k8s.io/v1","rv":1,"start":"//a"}', "not valid"),
    ],
)
def test_a_forged_token_is_refused(raw: bytes, why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        decode_continue(base64.urlsafe_b64encode(raw).rstrip(b"=").decode())
