"""The flags of controllers: names old and new, and how much is done at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from keelback.bootstrap import pki
from keelback.bootstrap.cluster_state import ClusterError
from keelback.bootstrap.components import ControllerManagerOptions, parse
from keelback.bootstrap.control_plane import controller_config
from keelback.bootstrap.manager_options import LeaderElectionOptions, SigningOptions
from keelback.component.flags import FlagError
from keelback.controllers.builtin import BUILTIN
from keelback.controllers.config import Config
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


def test_flags_that_one_controller_heeds_reach_it() -> None:
    config = controller_config(
        options(
            "max-endpoints-per-slice=7",
            "endpointslice-updates-batch-period=500ms",
            "enable-dynamic-provisioning=false",
            "disable-force-detach-on-timeout=true",
            "resource-quota-sync-period=1m",
            "concurrent-device-taint-eviction-syncs=3",
        ),
        "",
    )
    assert (config.max_endpoints_per_slice, config.endpointslice_updates_batch_period_seconds) == (7, 0.5)
    assert (config.enable_dynamic_provisioning, config.disable_force_detach_on_timeout) == (False, True)
    assert (config.resource_quota_sync_period_seconds, config.workers["device-taint-eviction-controller"]) == (60, 3)


@pytest.mark.parametrize("flag", ["max-endpoints-per-slice", "mirroring-max-endpoints-per-subset"])
def test_slices_are_no_larger_than_the_api_allows(flag: str) -> None:
    with pytest.raises(ClusterError, match=f"--{flag}.*from 1 to 1000"):
        options(f"{flag}=1001")


def test_each_signer_may_have_an_authority_of_its_own_or_all_have_one(tmp_path: Path) -> None:
    keys = pki.ensure_cluster_pki(tmp_path, datetime(2026, 1, 1, tzinfo=UTC))
    certificate, key = tmp_path / "one.crt", tmp_path / "one.key"
    certificate.write_bytes(keys.ca.certificate_pem)
    key.write_bytes(keys.ca.key_pem)
    one = SigningOptions(
        cluster_signing_kubelet_serving_cert_file=str(certificate), cluster_signing_kubelet_serving_key_file=str(key)
    )
    config = one.with_signers(Config())
    assert (config.signer, set(config.signers)) == (None, {"kubernetes.io/kubelet-serving"})
    both = replace(one, cluster_signing_cert_file=str(certificate), cluster_signing_key_file=str(key))
    with pytest.raises(FlagError, match="at the same time"):
        both.with_signers(Config())
    with pytest.raises(FlagError, match="--cluster-signing-kubelet-serving-key-file is needed"):
        replace(one, cluster_signing_kubelet_serving_key_file="").with_signers(Config())


def test_a_leader_gives_up_before_others_take_over() -> None:
    assert LeaderElectionOptions().leader_election() == Config().leader_election
    for wrong in (
        LeaderElectionOptions(leader_elect_lease_duration=10),
        LeaderElectionOptions(leader_elect_retry_period=9),
        LeaderElectionOptions(leader_elect_resource_lock="configmaps"),
    ):
        with pytest.raises(FlagError):
            wrong.leader_election()
