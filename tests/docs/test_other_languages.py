"""The recipes for other languages run as their page has them, with the clients that it names."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from keelback.testing import clients

PAGE = Path(__file__).parents[2] / "docs" / "other-languages.md"

pytestmark = [pytest.mark.slow_clients, pytest.mark.timeout(900)]


def recipe(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def run_with_cluster(*command: str, folder: Path) -> None:
    argv = [sys.executable, "-m", "keelback.testing.with_cluster", "--", *command]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_javascript_recipe(tmp_path: Path) -> None:
    modules = clients.node("client-node", "@kubernetes/client-node@2", "node@24") / "node_modules"
    (tmp_path / "node_modules").symlink_to(modules)
    (tmp_path / "web.test.mjs").write_text(recipe("javascript"))
    run_with_cluster(str(modules / ".bin/node"), "--test", "web.test.mjs", folder=tmp_path)


def test_the_java_recipe(tmp_path: Path) -> None:
    clients.debian("javac", "openjdk-17-jdk-headless")
    java = clients.debian("java", "openjdk-17-jre-headless")
    python = clients.python("spark", "pyspark==4.3.*")
    jars = next(python.parents[1].glob("lib/python*/site-packages/pyspark/jars"))
    (tmp_path / "WebTest.java").write_text(recipe("java"))
    run_with_cluster(str(java), "-cp", f"{jars}/*", "WebTest.java", folder=tmp_path)
