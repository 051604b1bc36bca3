"""Images made here are what a container runtime expects, and the same content is the same image."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from keelback.bootstrap import images
from keelback.bootstrap.images import File, ImageConfig, ImageError


def members(tar: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        return {entry.name: file.read() for entry in archive if entry.isfile() and (file := archive.extractfile(entry))}


def manifest_of(image: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    files = members(image)
    digest = json.loads(files["index.json"])["manifests"][0]["digest"]
    return json.loads(files[f"blobs/sha256/{digest.removeprefix('sha256:')}"]), files


def layer_of(image: bytes) -> tarfile.TarFile:
    manifest, files = manifest_of(image)
    blob = files["blobs/sha256/" + manifest["layers"][0]["digest"].removeprefix("sha256:")]
    return tarfile.open(fileobj=io.BytesIO(gzip.decompress(blob)))


def test_every_blob_is_named_by_its_digest_and_the_layer_by_what_it_unpacks_to() -> None:
    image = images.from_files("localhost/a:1", {"/bin/a": File.program(b"a")}, ImageConfig(entrypoint=("/bin/a",)))
    manifest, files = manifest_of(image)
    for path, content in files.items():
        if path.startswith("blobs/"):
            assert path == "blobs/sha256/" + hashlib.sha256(content).hexdigest()
    config = json.loads(files["blobs/sha256/" + manifest["config"]["digest"].removeprefix("sha256:")])
    layer = gzip.decompress(files["blobs/sha256/" + manifest["layers"][0]["digest"].removeprefix("sha256:")])
    assert config["rootfs"]["diff_ids"] == ["sha256:" + hashlib.sha256(layer).hexdigest()]
    assert config["config"]["Entrypoint"] == ["/bin/a"]


def test_the_same_content_is_the_same_image() -> None:
    files = {"/b": File(b"b"), "/a/c": File(b"c"), "/l": File.link("b")}
    first = images.from_files("localhost/a:1", files, ImageConfig())
    second = images.from_files("localhost/a:1", dict(reversed(files.items())), ImageConfig())
    assert first == second


def test_parents_come_before_what_is_in_them() -> None:
    image = images.from_files("localhost/a:1", {"/a/b/c": File(b"c"), "/a": File.directory(0o1777)}, ImageConfig())
    with layer_of(image) as layer:
        assert layer.getnames() == ["a", "a/b", "a/b/c"]
        assert layer.getmember("a").mode == 0o1777


def test_a_directory_keeps_modes_and_links(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "run").write_bytes(b"x")
    (tmp_path / "d" / "run").chmod(0o755)
    (tmp_path / "link").symlink_to("d")
    with layer_of(images.from_directory("localhost/a:1", tmp_path, ImageConfig())) as layer:
        assert sorted(layer.getnames()) == ["d", "d/run", "link"]
        assert layer.getmember("d/run").mode == 0o755
        assert layer.getmember("link").issym()


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1.2", "docker.io/library/nginx:1.2"),
        ("grafana/loki", "docker.io/grafana/loki:latest"),
        ("localhost/a", "localhost/a:latest"),
        ("registry:5000/a:b", "registry:5000/a:b"),
        ("quay.io/a/b", "quay.io/a/b:latest"),
    ],
)
def test_names_are_filed_in_full(short: str, full: str) -> None:
    assert images.full_name(short) == full
    assert images.names(images.from_files(short, {}, ImageConfig())) == [full]


def test_an_archive_of_docker_save_says_its_tags(tmp_path: Path) -> None:
    path = tmp_path / "saved.tar"
    with tarfile.open(path, "w") as archive:
        content = json.dumps([{"Config": "c", "RepoTags": ["web:1"], "Layers": []}]).encode()
        entry = tarfile.TarInfo("manifest.json")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    assert images.names(path) == ["docker.io/library/web:1"]


@pytest.mark.parametrize("content", [b"", b"no archive at all", b"\0" * 2048])
def test_what_is_no_image_archive_is_refused_with_a_reason(content: bytes) -> None:
    with pytest.raises(ImageError, match="image archive"):
        images.names(content)


def test_accounts_have_the_users_that_no_installation_script_made() -> None:
    files = images.accounts(redis=101)
    assert b"www-data:x:33:33:" in (files["/etc/passwd"].content or b"")
    assert b"redis:x:101:" in (files["/etc/group"].content or b"")


def test_apt_tells_what_it_would_install() -> None:
    lines = ["Reading...", "Inst libc6 (2.36-9 Debian:12 [amd64])", "Conf libc6 (2.36-9 x)", "Inst nginx (1.22 y) []"]
    assert list(images.simulated_installs(lines)) == [("libc6", "2.36-9"), ("nginx", "1.22")]


@pytest.mark.containers
@pytest.mark.skipif(os.geteuid() != 0, reason="apt and dpkg keep owners as root only")
def test_a_package_becomes_an_image_with_its_accounts() -> None:
    image = images.from_packages("localhost/busybox:1", ["busybox-static"], ImageConfig(command=("busybox", "sh")))
    with layer_of(image) as layer:
        names = set(layer.getnames())
        assert names & {"bin/busybox", "usr/bin/busybox"}
        assert "etc/passwd" in names
        assert not any(name.startswith("usr/share/doc") for name in names)


@pytest.mark.containers
@pytest.mark.skipif(os.geteuid() != 0, reason="apt and dpkg keep owners as root only")
def test_a_link_takes_the_place_of_a_directory_that_a_package_brings() -> None:
    files = {"/usr/share": File.link("/share")}
    image = images.from_packages("localhost/busybox:1", ["busybox-static"], ImageConfig(), files=files, exclude=())
    with layer_of(image) as layer:
        assert layer.getmember("usr/share").linkname == "/share"
