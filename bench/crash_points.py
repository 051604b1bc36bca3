"""Controllers that crash at each kind of write, before the server has got it and after: what comes out differently.

    python bench/crash_points.py [all]

`all` takes every write in turn, not the first of each kind that each controller does.
"""

from __future__ import annotations

import sys
from collections import Counter

from keelback.testing import crash_points


def main() -> int:
    """0 if it came to the same state each time, and broke no rule."""
    calm = crash_points.play()
    failed: list[int] = [0] if calm.broken else []
    for line in calm.broken:
        print(f"without a crash: {line}")
    numbers = range(1, len(calm.writes) + 1) if sys.argv[1:] == ["all"] else crash_points.firsts(calm.writes)
    played: Counter[str] = Counter()
    for number in numbers:
        write = calm.writes[number - 1]
        for is_carried_out in (False, True):
            lines = crash_points.differences(calm, crash_points.play(number, is_carried_out=is_carried_out))
            played[write.client.rpartition("/")[2]] += 1
            for line in lines:
                when = "after" if is_carried_out else "before"
                print(
                    f"{when} write {number}, {write.client} {write.verb} {write.resource} {write.name}: {line}",
                    flush=True,
                )
            failed += [number] if lines else []
    for name, times in sorted(played.items()):
        print(f"{name:44} {times:4}")
    print(f"{sum(played.values())} crashes of {len(played)} controllers; failed: {failed or 'none'}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
