from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest

from keelback.testing import clients


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEELBACK_TEST_CACHE", str(tmp_path / "cache"))


def wheel(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as content:
        about = "tiny-1.dist-info"
        content.writestr("tiny.py", "print('here')\n")
        content.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1\n")
        content.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        content.writestr(f"{about}/RECORD", f"tiny.py,,\n{about}/METADATA,,\n{about}/WHEEL,,\n{about}/RECORD,,\n")
    return path


def test_a_client_is_installed_once_and_a_failure_says_by_which_command(tmp_path: Path) -> None:
    package = tmp_path / "tiny-1-py3-none-any.whl"
    with pytest.raises(clients.ClientNotInstalled, match=r"pip install --quiet .*tiny-1-py3-none-any.whl ended with 1"):
        clients.python("tiny", str(package))

    wheel(package)
    python = clients.python("tiny", str(package))
    assert subprocess.run([python, "-m", "tiny"], capture_output=True, check=True).stdout == b"here\n"

    package.unlink()
    assert clients.python("tiny", str(package)) == python
