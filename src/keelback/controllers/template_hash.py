"""The hash that tells a pod template from its predecessors, in upstream's alphabet so that it reads like no word.

It is 32-bit FNV-1a as upstream's, but of the template's JSON: upstream hashes a dump of Go structs.
"""

from __future__ import annotations

import msgspec

from keelback.apimachinery.meta import Value

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def compute_hash(template: Value, collision_count: int | None) -> str:
    """The hash; each counted collision gives another one."""
    value = 0x811C9DC5
    data = msgspec.json.encode(template, order="deterministic")
    if collision_count is not None:
        data += collision_count.to_bytes(8, "little")
    for byte in data:
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return safe_encoded(str(value))


def safe_encoded(text: str) -> str:
    """The text in an alphabet without vowels and look-alikes (apimachinery's `SafeEncodeString`)."""
    return "".join(_ALPHABET[ord(character) % len(_ALPHABET)] for character in text)
