"""What may be typed, and what it answers; one cluster with simulated nodes from start to end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from keelback.bootstrap import cluster, cluster_state
from keelback.bootstrap.cluster_state import ClusterError, Place, Settings
from keelback.bootstrap.standalone_options import OPTIONS
from keelback.cli import clusters, main

KUBECTL = Path(sys.executable).with_name("kubectl")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    return tmp_path


def run(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "keelback.cli.main", *arguments],
        capture_output=True,
        text=True,
        timeout=90,
        env=dict(os.environ),
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def kubectl(*arguments: str) -> str:
    done = subprocess.run([KUBECTL, *arguments], capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_no_command_prints_help(capsys):
    assert main.main([]) == 2
    assert "doctor" in capsys.readouterr().out


def test_version_names_the_kubernetes_version(capsys):
    assert main.main(["version"]) == 0
    assert "Kubernetes 1.36, by choice 1.28 to 1.37" in capsys.readouterr().out


def test_flags_of_components_are_kept_by_component():
    given = main.parser().parse_args(["up", "--kubelet-arg", "max-pods=5", "--kubelet-arg=pods-per-core=2"])
    assert clusters._component_arguments(given) == {"kubelet": ("max-pods=5", "pods-per-core=2")}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("up", "--simulated", "--kubernetes-version", "1.27"), "Kubernetes 1.27: there is 1.28, 1.29, "),
        (("up", "--simulated", "--kubelet-arg", "kubernetes-version=1.30"), "up --kubernetes-version"),
        (("up", "--simulated", "--kubelet-arg", "feature-gates=A=true"), "unrecognized feature gate: A"),
        (
            ("up", "--simulated", "--kube-scheduler-arg", "feature-gates=GangScheduling=true"),
            "GangScheduling is enabled, but depends on features that are disabled: [GenericWorkload]",
        ),
        (
            ("up", "--kubernetes-version", "1.35", "--kube-apiserver-arg", "feature-gates=GenericWorkload=true"),
            "cannot turn feature gate GenericWorkload on",
        ),
        (("up", "--simulated", "--nodes", "0"), "--nodes 0"),
        (("up", "--simulated", "--speed", "fast"), "--speed: speed 'fast': a number such as 100x"),
        (("up", "--simulated", "--stages", "/no/such.yaml"), "--stages /no/such.yaml: [Errno 2]"),
        (("up", "--simulated", "--stages", __file__), "not YAML"),
        (("up", "--simulated", "--kube-apiserver-arg", "wrong=1"), "unknown flag: --wrong"),
        (("up", "--simulated", "--kube-apiserver-arg", "token-auth-file=none.csv"), "there is no file"),
        (("up", "--simulated", "--kube-apiserver-arg", "service-cluster-ip-range=10.0.0.0/8"), "too large"),
        (("up", "--simulated", "--kube-controller-manager-arg", "cluster-cidr=10.96.0.0/16"), "overlap"),
        (("up", "--simulated", "--api-port", "70000"), "--api-port 70000"),
        (("up", "--simulated", "--data-dir", "/etc/hosts"), "/etc/hosts"),
        (("up", "--simulated", "--data-dir", "/proc/no/such"), "no cluster can be in /proc/no/such"),
        (("up", "--name", "Not_A_Name"), "no name for a cluster"),
        (("status",), "there is no cluster local"),
        (("kubeconfig", "--name", "none"), "there is no cluster none"),
        (("disconnect", "node-0", "--name", "none"), "there is no cluster none"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(home, capsys, arguments, said):
    assert main.main(arguments) == 1
    told = capsys.readouterr()
    assert said in told.err
    assert "Traceback" not in told.err


@pytest.mark.parametrize("component", main.COMPONENTS)
def test_every_component_has_a_command_with_help(component, capsys):
    assert component in OPTIONS
    assert main.main([component, "--help"]) == 0
    assert "--" in capsys.readouterr().out


def test_a_component_without_an_api_server_says_what_it_needs(capsys):
    assert main.main(["scheduler"]) == 2
    assert "--kubeconfig is needed" in capsys.readouterr().err


def test_an_unknown_flag_of_a_component_is_named(capsys):
    assert main.main(["scheduler", "--wrong"]) == 2
    assert "unknown flag: --wrong" in capsys.readouterr().err


def test_doctor_says_what_the_machine_can_do(home):
    status, said = run("doctor")
    assert status in (0, 1)
    assert "root" in said


@pytest.mark.skipif(not KUBECTL.exists() and shutil.which("kubectl") is None, reason="no kubectl")
def test_a_cluster_with_simulated_nodes_from_start_to_end(home):
    name = f"cli-{os.getpid()}"
    try:
        status, said = run("up", "--simulated", "--name", name, "--nodes", "2")
        assert status == 0, said
        assert "Node node-1 is Ready" in said
        kubectl("create", "deployment", "web", "--image=web", "--replicas=3")
        assert "successfully rolled out" in kubectl("rollout", "status", "deployment/web", "--timeout=30s")
        assert kubectl("get", "pods", "-o", "name").count("pod/web-") == 3
        # Again: what runs is left alone, and what is stored is there.
        status, said = run("up", "--name", name)
        assert status == 0, said
        assert "runs already" in said
        assert "there is no network to cut" in run("disconnect", "node-0", "--name", name)[1]
        assert run("status", "--name", name)[0] == 0
        kubectl("delete", "deployment", "web", "--timeout=30s")
        kubectl("wait", "--for=delete", "pod", "-l", "app=web", "--timeout=30s")
    finally:
        status, said = run("down", "--name", name)
    assert status == 0, said
    assert name not in run("list")[1]
    assert name not in (home / "config").read_text()
    assert not Path("/run/keelback", name).exists()
    assert not (home / ".local/share/keelback" / name).exists()


def test_an_interrupted_start_leaves_nothing(home):
    name = f"cli-interrupted-{os.getpid()}"
    argv = [sys.executable, "-m", "keelback.cli.main", "up", "--simulated", "--nodes", "2000", "--name", name]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as starting:
        assert starting.stderr is not None
        assert "API server answers" in starting.stderr.readline()
        starting.send_signal(signal.SIGINT)
        said = starting.stderr.read()
    assert starting.returncode == 130, said
    assert "what was started is taken down" in said
    assert "Traceback" not in said
    assert not (home / ".local/share/keelback").exists()
    assert not Path("/run/keelback", name).exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="without root each home has names of its own")
def test_a_cluster_of_the_same_name_and_another_home_is_left_alone(home, monkeypatch):
    name = f"cli-own-{os.getpid()}"
    try:
        assert run("up", "--simulated", "--name", name)[0] == 0
        with monkeypatch.context() as other:
            other.setenv("HOME", str(home / "other"))
            for command in (("up", "--simulated"), ("down",)):
                status, said = run(*command, "--name", name)
                assert (status, f"with its data in {home}" in said) == (1, True), said
        assert run("status", "--name", name)[0] == 0
    finally:
        assert run("down", "--name", name)[0] == 0


def test_a_port_that_is_taken_is_named(home):
    name = f"cli-port-{os.getpid()}"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        try:
            status, said = run("up", "--simulated", "--name", name, "--api-port", str(taken.getsockname()[1]))
        finally:
            run("down", "--name", name)
    assert status == 1
    assert "address already in use" in said
    assert "Traceback" not in said


def test_a_record_of_a_process_that_ended_is_not_believed(home):
    name = f"cli-stale-{os.getpid()}"
    with subprocess.Popen(["sleep", "600"]) as other:
        try:
            assert run("up", "--simulated", "--name", name)[0] == 0
            record = cluster_state.place_of(name).process_file
            content = json.loads(record.read_text())
            os.kill(content["pid"], signal.SIGKILL)
            # Another process has the pid now, as far as anybody can tell by the number.
            record.write_text(json.dumps({**content, "pid": other.pid}))
            assert "stopped" in run("list")[1]
            status, said = run("status", "--name", name)
            assert (status, "stopped" in said) == (1, True)
            assert run("up", "--name", name)[0] == 0
        finally:
            assert run("down", "--name", name)[0] == 0
        assert other.poll() is None
        other.kill()


@pytest.mark.skipif(not KUBECTL.exists() and shutil.which("kubectl") is None, reason="no kubectl")
def test_what_was_stored_outlives_a_restart(home):
    name = f"cli-kept-{os.getpid()}"
    try:
        assert run("up", "--simulated", "--name", name)[0] == 0
        kubectl("create", "configmap", "kept", "--from-literal=a=b")
        assert run("down", "--keep-data", "--name", name)[0] == 0
        status, said = run("up", "--name", name)
        assert status == 0, said
        assert kubectl("get", "configmap", "kept", "-o", "jsonpath={.data.a}") == "b"
    finally:
        run("down", "--name", name)


def test_a_spoilt_kubeconfig_is_named_and_left_alone(home):
    name = f"cli-spoilt-{os.getpid()}"
    (home / "config").write_text("{")
    try:
        status, said = run("up", "--simulated", "--name", name)
    finally:
        (home / "config").write_text("")
        run("down", "--name", name)
    assert status == 1
    assert "config is not YAML" in said
    assert "Traceback" not in said


def test_logs_of_a_cluster_are_read_as_far_as_wanted(home):
    name = f"cli-logs-{os.getpid()}"
    place = cluster_state.place_of(name)
    place.make()
    place.write(place.settings_file, cluster_state.Settings(name=name))
    place.control_plane_log().write_text("one\ntwo\nthree\n")
    assert run("logs", "--name", name)[1] == "one\ntwo\nthree\n"
    assert run("logs", "--name", name, "--tail", "2")[1] == "two\nthree\n"
    assert run("logs", "--name", name, "--tail", "0")[1] == ""
    assert run("logs", "--name", name, "--tail", "9")[1] == "one\ntwo\nthree\n"
    assert run("logs", "--name", name, "node-7") == (
        1,
        "keelback: there is no log of 'node-7'; there are: control-plane\n",
    )
    place.control_plane_log().write_text("line\n" * 100_000)
    argv = [sys.executable, "-m", "keelback.cli.main", "logs", "--name", name]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as reading:
        assert reading.stdout is not None
        assert reading.stderr is not None
        assert reading.stdout.readline() == "line\n"
        reading.stdout.close()
        assert reading.stderr.read() == ""
    place.remove(keep_data=False)


def test_taking_down_nothing_is_no_error(home):
    status, said = run("down", "--name", "never-there")
    assert status == 0
    assert "There is no cluster" in said


def test_a_cluster_error_is_an_exception_of_its_own():
    with pytest.raises(ClusterError):
        clusters._version("2.0", None)


def test_a_cluster_stays_of_the_version_that_it_is_until_another_is_asked_for():
    known = Settings(name="one", kubernetes_version="1.30")
    assert clusters._version(None, None) == "1.36"
    assert clusters._version(None, known) == "1.30"
    assert clusters._version("v1.31.4", known) == "1.31"


def test_a_cluster_goes_back_one_version_and_no_more(tmp_path):
    place = Place("one", tmp_path)
    known = Settings(name="one", simulated=True, port=1, kubernetes_version="1.32", newest_kubernetes_version="1.33")
    place.write(place.settings_file, known)

    def settled(version: str) -> Settings:
        return cluster._settled(place, Settings(name="one", simulated=True, kubernetes_version=version))

    assert settled("1.32").newest_kubernetes_version == "1.33"
    assert settled("1.36").newest_kubernetes_version == "1.36"
    with pytest.raises(ClusterError, match=r"has run Kubernetes 1\.33: it may go back one minor version, not to 1\.31"):
        settled("1.31")
