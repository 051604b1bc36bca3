"""Hands of queues."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from keelback.flowcontrol.shuffle_sharding import deal, flow_hash


@given(st.integers(0, 2**64 - 1), st.integers(1, 128), st.integers(1, 10))
def test_a_hand_has_different_cards_of_the_deck(hash_value: int, deck: int, hand: int) -> None:
    cards = deal(hash_value, deck, hand)
    assert len(set(cards)) == len(cards) == min(deck, hand)
    assert all(0 <= card < deck for card in cards)
    assert cards == deal(hash_value, deck, hand)


def test_every_hand_is_as_likely_as_any_other() -> None:
    hands = Counter(deal(value, 5, 2) for value in range(20 * 50))
    assert set(hands.values()) == {50}
    assert len(hands) == 20


def test_flows_of_different_users_have_different_hands() -> None:
    hands = {deal(flow_hash("global-default", f"user-{number}"), 128, 6) for number in range(500)}
    assert len(hands) == 500
