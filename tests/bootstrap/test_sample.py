"""The sample's image has what its start needs, whatever machine it is made on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from keelback.bootstrap import images, sample


def test_the_start_command_and_its_shell_are_in_the_image() -> None:
    files = sample.files(b"busybox", ["busybox", "sh", "httpd"])
    assert sample.config().command[0] in files
    assert files["/bin/sh"].target == "busybox"
    assert images.names(images.from_files(sample.IMAGE, files, sample.config())) == [sample.IMAGE]


def test_a_program_with_an_interpreter_is_not_static(tmp_path: Path) -> None:
    python = shutil.which("dpkg-deb") or shutil.which("ls")
    assert python is not None
    assert not sample.is_static(Path(python))
    assert not sample.is_static(tmp_path / "nothing")
    (tmp_path / "script").write_bytes(b"#!/bin/sh\n")
    assert not sample.is_static(tmp_path / "script")


@pytest.mark.containers
def test_a_static_busybox_is_found_or_fetched(tmp_path: Path) -> None:
    assert sample.is_static(sample.static_busybox(tmp_path))
    assert images.names(sample.build("localhost/a:1")) == ["localhost/a:1"]
