"""Environment variables from files of a volume: their format, and how fileKeyRef reads them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelback.api.core_v1 import Container, EnvVar, EnvVarSource, FileKeySelector, Pod, PodSpec
from keelback.kubelet.env_file import parse
from keelback.kubelet.environment import ConfigError, Surroundings, environment


def variables(volumes, **selector):
    source = EnvVarSource(file_key_ref=FileKeySelector(volume_name="shared", key="KEY", **selector))
    container = Container(name="c", env=(EnvVar(name="NAME", value_from=source),))
    pod = Pod(spec=PodSpec(containers=(container,), enable_service_links=False))
    return asyncio.run(environment(container, pod, None, Surroundings(volumes=volumes)))


def test_quoted_values_are_taken_literally():
    text = "# a comment\n\nA='one'\n  B='two words # $A'  \r\nC='line 1\nline 2'\nA='again'"
    assert parse(text) == {"A": "again", "B": "two words # $A", "C": "line 1\nline 2"}


@pytest.mark.parametrize(
    "text", ["A=bare", "A='open", "A = 'spaced'", "='no name'", "A='x' trailing", "words", 'A="x"']
)
def test_what_is_no_assignment_is_an_error(text):
    with pytest.raises(ValueError, match="line 2"):
        parse("\n" + text)


@given(st.dictionaries(st.from_regex("[A-Z_.-]{1,9}", fullmatch=True), st.text(alphabet='ab #=$"\\\n')))
def test_what_is_written_is_read(values):
    assert parse("".join(f"{name}='{value}'\n" for name, value in values.items())) == values


def test_a_variable_comes_from_a_file_of_a_volume(tmp_path: Path):
    (tmp_path / "vars").write_text("KEY='from the file'\n")
    assert variables({"shared": tmp_path}, path="vars") == {"NAME": "from the file"}


def test_what_is_optional_may_be_missing(tmp_path: Path):
    (tmp_path / "vars").write_text("OTHER='x'\n")
    assert variables({"shared": tmp_path}, path="vars", optional=True) == {}
    assert variables({"shared": tmp_path}, path="none", optional=True) == {}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("none", 'environment variable file "none" not found'),
        ("vars", 'environment variable key "KEY" not found in file'),
        ("bad", "couldn't parse env file: invalid environment variable format at line 1"),
        ("out", "couldn't parse env file: path 'out' leads out of the volume"),
        ("../vars", "couldn't parse env file: path '../vars' must be relative"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path: Path, path: str, message: str):
    (tmp_path / "vars").write_text("OTHER='x'\n")
    (tmp_path / "bad").write_text("KEY=bare\n")
    (tmp_path / "out").symlink_to("/etc/hostname")
    with pytest.raises(ConfigError, match=message):
        variables({"shared": tmp_path}, path=path)
