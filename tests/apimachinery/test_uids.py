"""A UID is the UUID that Python's own library makes of the same chance."""

from __future__ import annotations

import random
import uuid

from keelback.apimachinery.uids import random_uid


def test_a_uid_is_a_random_uuid() -> None:
    for seed in range(200):
        made = random_uid(random.Random(seed))
        assert made == str(uuid.UUID(int=random.Random(seed).getrandbits(128), version=4))
