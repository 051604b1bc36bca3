"""Queries and booleans as the API server and Go read them."""

from __future__ import annotations

import pytest

from keelback.component.http import Response, parse_bool, parse_query, query_flag, query_values


def test_queries_keep_order_and_blank_values() -> None:
    assert parse_query("a=1&b&a=2%203") == [("a", "1"), ("b", ""), ("a", "2 3")]
    assert query_values("a=1&a=2&verbose") == {"a": "1", "verbose": ""}
    assert parse_query("") == []


@pytest.mark.parametrize("text", ["true", "True", "1", "t", "", "yes"])
def test_flags_that_are_on(text: str) -> None:
    assert query_flag(text)


@pytest.mark.parametrize("text", [None, "false", "False", "0"])
def test_flags_that_are_off(text: str | None) -> None:
    assert not query_flag(text)


def test_go_booleans() -> None:
    assert parse_bool("T")
    assert not parse_bool("FALSE")
    with pytest.raises(ValueError, match="invalid boolean"):
        parse_bool("yes")


def test_a_body_in_pieces_is_one() -> None:
    assert Response(200, {}, [b"a", b"b"]).content() == b"ab"
