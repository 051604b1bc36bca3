"""What tells an object apart from all others that ever were: a random UUID (RFC 9562, version 4)."""

from __future__ import annotations

import random
from typing import Final

_VERSION_AND_VARIANT: Final = 0x4 << 76 | 0x2 << 62
_RANDOM: Final = (1 << 128) - 1 & ~(0xF << 76 | 0x3 << 62)


def random_uid(chance: random.Random) -> str:
    """Such a UUID as text. Every object and Event takes one: `uuid.UUID` needs four times as long for the same."""
    digits = f"{chance.getrandbits(128) & _RANDOM | _VERSION_AND_VARIANT:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
