"""The ordered entries against a dictionary, with snapshots that must not move; the index of pairs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keelback.apiserver import watch_index
from keelback.apiserver.watch_index import Entry, OrderedEntries, PairIndex, View

NO_ITEM = (b"", b"", b"")
KEYS = st.integers(0, 60).map(lambda number: f"/p/{number:02}")
STEPS = st.lists(st.tuples(st.sampled_from(["set", "set", "delete", "snapshot"]), KEYS), max_size=200)


def contents(view: View, start: str = "", end: str = "~", limit: int = 0) -> list[tuple[str, int]]:
    return [(entry.key, entry.revision) for entry in view.slice(start, end, limit)]


@given(STEPS, KEYS, KEYS, st.integers(0, 5), st.lists(KEYS, unique=True))
def test_entries_behave_like_a_sorted_dictionary(
    steps: list[tuple[str, str]], start: str, end: str, limit: int, loaded: list[str]
) -> None:
    before, watch_index.CHUNK = watch_index.CHUNK, 4
    try:
        model = dict.fromkeys(loaded, 0)
        entries = OrderedEntries(Entry(key, NO_ITEM, 0) for key in loaded)
        snapshots: list[tuple[View, list[tuple[str, int]]]] = []
        for revision, (step, key) in enumerate(steps, 1):
            if step == "set":
                model[key] = revision
                entries.set(Entry(key, NO_ITEM, revision))
            elif step == "delete" and key in model:
                del model[key]
                entries.delete(key)
            elif step == "snapshot":
                snapshots.append((entries.snapshot(), sorted(model.items())))
        wanted = [item for item in sorted(model.items()) if start <= item[0] < end]
        assert contents(entries) == sorted(model.items())
        assert [entry.key for entry in entries] == sorted(model)
        assert contents(entries, start, end) == wanted
        assert contents(entries, start, end, limit) == (wanted[:limit] if limit else wanted)
        assert entries.count(start, end) == len(wanted)
        for view, then in snapshots:
            assert contents(view) == then
    finally:
        watch_index.CHUNK = before


def test_pairs_are_found_by_value_and_by_name() -> None:
    index = PairIndex()
    index.add("a", {"app": "web", "tier": "1"})
    index.add("b", {"app": "db"})
    assert index.find("app", frozenset({"web", "none"})) == {"a"}
    assert index.find("app", None) == {"a", "b"}
    assert index.find("none", None) == set()
    assert index.estimate("app", None) == 2
    index.remove("a", {"app": "web", "tier": "1"})
    assert index.find("app", None) == {"b"}
    assert index.find("tier", None) == set()
