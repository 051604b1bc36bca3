"""What many objects have in common, held once: who owns the fields of a pod takes two fifths of its bytes, and of all
pods of one template it says the same."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

_SET_OF_FIELDS: Final = b'"fieldsV1":{'
_NEXT_OWNER: Final = b'{"manager":'
_END_OF_OWNERS: Final = b"}]"
_LEAST_BYTES: Final = 256
"""A shorter part costs about as much as it saves: an object more."""
_MOST_PARTS: Final = 512
"""How many parts are known at once. One that is forgotten stays with its holders, and is no longer found by others."""


class SharedParts:
    """Cuts the JSON of objects around the first set of owned fields, and gives equal sets as one object."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, bytes] = OrderedDict()

    def split(self, item: bytes, begin: int = 0) -> tuple[bytes, bytes, bytes]:
        """Three pieces that joined are the item from `begin` on, whatever it is; the middle one may be shared, or be
        empty.

        The marks are looked for as text: one that stands in a value cuts at another place, which costs memory only.
        """
        start = item.find(_SET_OF_FIELDS, begin)
        if start < 0:
            return item[begin:], b"", b""
        # There are no lists in a set of fields. To look for another owner in all that follows would take longest.
        last = item.find(_END_OF_OWNERS, start)
        end = item.find(_NEXT_OWNER, start, last)
        if end < 0:
            end = last
        if end - start < _LEAST_BYTES:
            return item[begin:], b"", b""
        part = item[start:end]
        known = self._known.get(part)
        if known is None:
            known = self._known[part] = part
            if len(self._known) > _MOST_PARTS:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(known)
        return item[begin:start], known, item[end:]
