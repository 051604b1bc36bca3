"""Shuffle sharding: each flow gets a few queues of many, so that one flow's flood fills few queues of any other's."""

from __future__ import annotations

import hashlib
from bisect import insort


def flow_hash(schema: str, distinguisher: str) -> int:
    """A flow's 64 bits of chance, the same each time."""
    digest = hashlib.sha256(f"{schema},{distinguisher}".encode()).digest()
    return int.from_bytes(digest[:8], "little")


def deal(hash_value: int, deck_size: int, hand_size: int) -> tuple[int, ...]:
    """`hand_size` different cards of `deck_size`, as the hash says: every hand is as likely as any other."""
    hand: list[int] = []
    taken: list[int] = []
    for dealt in range(min(hand_size, deck_size)):
        hash_value, card = divmod(hash_value, deck_size - dealt)
        # The card is counted among those that are left.
        for earlier in taken:
            if earlier <= card:
                card += 1
        insort(taken, card)
        hand.append(card)
    return tuple(hand)
