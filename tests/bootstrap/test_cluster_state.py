"""Where clusters lie, and what is remembered of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from keelback.bootstrap import cluster_state
from keelback.bootstrap.cluster_state import ClusterError, Place, Report, Settings


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return tmp_path / "keelback"


def test_a_cluster_is_found_again_by_its_name(tmp_path):
    place = Place("test-state", tmp_path / "elsewhere")
    place.data.mkdir()
    place.write(place.settings_file, Settings(name="test-state", nodes=3, arguments={"kubelet": ("max-pods=1",)}))
    cluster_state.remember(place)
    assert cluster_state.place_of("test-state") == place
    assert list(cluster_state.every()) == [place]
    settings = place.settings()
    assert settings is not None
    assert (settings.nodes, settings.arguments) == (3, {"kubelet": ("max-pods=1",)})


def test_a_name_is_not_moved_to_another_directory(tmp_path):
    place = Place("test-state", tmp_path / "elsewhere")
    place.data.mkdir()
    place.write(place.settings_file, Settings(name="test-state"))
    cluster_state.remember(place)
    with pytest.raises(ClusterError, match="has its data in"):
        cluster_state.place_of("test-state", tmp_path / "third")


@pytest.mark.parametrize("name", ["", "A", "a/b", "-a", "a-", "a" * 33, "../x"])
def test_a_name_that_would_spoil_paths_is_refused(name):
    with pytest.raises(ClusterError):
        cluster_state.check_name(name)


def test_a_file_that_nobody_here_wrote_is_named(tmp_path):
    place = Place("test-state", tmp_path)
    place.settings_file.write_text("{")
    with pytest.raises(ClusterError, match=r"cluster\.json"):
        place.settings()


def test_nothing_is_known_of_a_cluster_that_is_not_there(tmp_path):
    place = Place("test-state", tmp_path / "none")
    assert place.settings() is None
    assert place.process() is None
    assert place.report() == Report()


def test_removing_leaves_nothing(home, tmp_path):
    place = Place("test-state", home / "test-state")
    place.data.mkdir(parents=True)
    place.write(place.settings_file, Settings(name="test-state"))
    cluster_state.remember(place)
    place.remove(keep_data=False)
    assert not place.data.exists()
    assert list(cluster_state.every()) == []
    assert not Path(home).exists()
