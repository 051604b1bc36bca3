"""Each project of examples/ passes as a newcomer has it: copied somewhere, and run by pytest."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
EXAMPLES = sorted(folder for folder in (Path(__file__).parents[2] / "examples").iterdir() if folder.is_dir())


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda folder: folder.name)
def test_the_example_passes(folder: Path, pytester: pytest.Pytester) -> None:
    shutil.copytree(folder, pytester.path, dirs_exist_ok=True)
    assert pytester.runpytest_subprocess("-q").ret == pytest.ExitCode.OK
    assert (folder / "README.md").exists()
