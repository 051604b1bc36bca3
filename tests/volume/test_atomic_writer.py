"""Files that change all at once, and never lead out of their directory."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from keelback.volume.atomic_writer import File, write

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def shown(directory):
    """What a container sees: path to contents, without the writer's own files."""
    found = {}
    for root, _, names in os.walk(directory, followlinks=True):
        for name in names:
            path = os.path.relpath(os.path.join(root, name), directory)
            if not path.startswith(".."):
                found[path] = Path(root, name).read_bytes()
    return found


def test_files_appear_under_their_paths(tmp_path):
    assert write(tmp_path, {"a": File(b"1"), "sub/dir/b": File(b"2", 0o600)}, NOW)
    assert shown(tmp_path) == {"a": b"1", "sub/dir/b": b"2"}
    assert os.readlink(tmp_path / "a") == "..data/a"
    assert (tmp_path / "sub/dir/b").stat().st_mode & 0o777 == 0o600


def test_an_update_swaps_the_whole_directory_and_leaves_one_behind(tmp_path):
    write(tmp_path, {"a": File(b"1"), "old/b": File(b"2")}, NOW)
    before = os.readlink(tmp_path / "..data")
    assert write(tmp_path, {"a": File(b"3"), "c": File(b"4")}, NOW)
    assert shown(tmp_path) == {"a": b"3", "c": b"4"}
    assert os.readlink(tmp_path / "..data") != before
    assert not (tmp_path / before).exists()


def test_what_is_already_so_is_left_alone(tmp_path):
    files = {"a": File(b"1"), "sub/b": File(b"2")}
    write(tmp_path, files, NOW)
    before = os.readlink(tmp_path / "..data")
    assert not write(tmp_path, files, NOW)
    assert os.readlink(tmp_path / "..data") == before


def test_an_empty_set_of_files_is_shown_as_such(tmp_path):
    write(tmp_path, {"a": File(b"1")}, NOW)
    assert write(tmp_path, {}, NOW)
    assert shown(tmp_path) == {}


def test_owners_are_set_before_anyone_can_look(tmp_path):
    seen = []
    write(tmp_path, {"a": File(b"1")}, NOW, lambda fresh: seen.append((tmp_path / "..data").exists()))
    assert seen == [False]


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "..data", "..hidden/x", ""])
def test_paths_that_leave_the_volume_are_refused(tmp_path, path):
    with pytest.raises(ValueError, match="invalid path"):
        write(tmp_path, {path: File(b"x")}, NOW)
    assert list(tmp_path.iterdir()) == []
