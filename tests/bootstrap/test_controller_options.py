"""The flags of controllers: names old and new, and how much is done at once."""

from __future__ import annotations

import pytest

from keelback.bootstrap.cluster_state import ClusterError
from keelback.bootstrap.components import ControllerManagerOptions, parse
from keelback.bootstrap.control_plane import controller_config
from keelback.controllers.builtin import BUILTIN
from keelback.controllers.manager import is_enabled
from keelback.controllers.names import ALIASES


def options(*arguments: str) -> ControllerManagerOptions:
    found = parse("kube-controller-manager", arguments)
    assert isinstance(found, ControllerManagerOptions)
    return found


def test_workers_have_upstreams_numbers_unless_a_flag_says_otherwise() -> None:
    config = controller_config(options("concurrent-deployment-syncs=9"), "")
    assert config.workers["deployment-controller"] == 9
    known = {entry.name: entry.workers for entry in BUILTIN}
    untouched = controller_config(options(), "").workers
    named = {name: workers for name, workers in untouched.items() if name in known}
    assert len(named) >= 18
    del named["garbage-collector-controller"]  # its workers are its own
    assert {name: known[name] for name in named} == named


def test_nothing_is_done_by_nobody() -> None:
    with pytest.raises(ClusterError, match="--concurrent-gc-syncs"):
        options("concurrent-gc-syncs=0")


def test_a_controller_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ClusterError, match='"deploiment" is not in the list of known controllers'):
        options("controllers=*,-deploiment")


@pytest.mark.parametrize(
    ("words", "deployment", "job", "signer"),
    [
        ("*", True, True, False),
        ("*,-job", True, False, False),
        ("deployment", True, False, False),
        ("*,bootstrapsigner,-deployment-controller", False, True, True),
        ("*,bootstrap-signer-controller", True, True, True),
    ],
)
def test_controllers_go_by_old_names_and_new(words: str, deployment: bool, job: bool, signer: bool) -> None:
    chosen = options(f"controllers={words}").controllers
    names = ("deployment-controller", "job-controller", "bootstrap-signer-controller")
    assert tuple(is_enabled(name, chosen) for name in names) == (deployment, job, signer)


def test_each_old_name_leads_to_a_controller_that_there_is() -> None:
    assert set(ALIASES.values()) <= {entry.name for entry in BUILTIN}
