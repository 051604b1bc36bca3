"""Headers that name users: written by the proxy alone, whatever a client sends."""

from __future__ import annotations

from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st

from keelback.apiserver import request_header_identity as identity_headers
from keelback.auth.users import UserInfo
from keelback.component.http import Request

NAMES = (
    *("x-remote-user", "x_remote_user", "x-remote_group", "X-Remote-Extra-a", "impersonate-user", "impersonate_uid"),
    *("authorization", "proxy-authorization", "te", "upgrade", "connection", "accept", "cookie", "x-own-user"),
)


@given(st.dictionaries(st.sampled_from(NAMES), st.sampled_from(("a", "close, accept", "x-remote-user"))))
def test_nothing_that_names_a_user_is_passed_on(headers: dict[str, str]) -> None:
    kept = identity_headers.passed_on(Request("GET", "/", headers=headers), frozenset({"x-own-user"}))
    assert kept.keys() <= {"accept", "cookie"}
    assert kept.items() <= headers.items()


@given(st.text(st.characters(codec="utf-8")))
def test_a_key_can_be_read_back_from_a_headers_name(key: str) -> None:
    name = identity_headers.escaped(key)
    assert name.isascii()
    assert not set(name) & set(" :\r\n/()")
    assert unquote(name) == key


def test_a_browsers_token_is_left_out_of_its_protocols() -> None:
    protocols = "base64url.bearer.authorization.k8s.io.c2VjcmV0, v5.channel.k8s.io"
    request = Request("GET", "/", headers={"sec-websocket-protocol": protocols})
    assert identity_headers.passed_on(request) == {"sec-websocket-protocol": "v5.channel.k8s.io"}
    alone = Request("GET", "/", headers={"sec-websocket-protocol": protocols.partition(",")[0]})
    assert identity_headers.passed_on(alone) == {}


def test_each_value_has_a_line_of_its_own() -> None:
    user = UserInfo("jane", "", ("a, b", "c"), {"k": ("1", "2")})
    assert identity_headers.identity(user) == (
        ("X-Remote-User", "jane"),
        ("X-Remote-Group", "a, b"),
        ("X-Remote-Group", "c"),
        ("X-Remote-Extra-k", "1"),
        ("X-Remote-Extra-k", "2"),
    )
