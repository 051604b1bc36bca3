"""Scenarios: what a file may say, what comes of it, and how it is shown."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from keelback.testing import scenario, scenario_report, scenario_run, sim

TRACE = """
nodes:
  - {name: small, count: 2, capacity: {cpu: "2", memory: 4Gi}}
  - {name: large, capacity: {cpu: "4"}, labels: {size: large}}
duration: 20m
sample: 1m
job_seconds: 90
events:
  - at: 0s
    apply:
      apiVersion: apps/v1
      kind: Deployment
      metadata: {name: web}
      spec:
        replicas: 2
        selector: {matchLabels: {app: web}}
        template:
          metadata: {labels: {app: web}}
          spec: {containers: [{name: web, image: one, resources: {requests: {cpu: "1"}}}]}
  - {at: 2m, scale: deployment/web, replicas: 12}
  - {at: 5m, scale: deployment/web, replicas: 4}
  - every: 1m
    from: 6m
    until: 8m
    count: 2
    create:
      apiVersion: batch/v1
      kind: Job
      metadata: {generateName: work-}
      spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: one}]}}}
  - {at: 10m, drain: large-0}
  - {at: 11m, uncordon: large-0}
  - {at: 12m, disconnect: small-1}
  - {at: 14m, connect: small-1}
"""


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace.yaml"
    path.write_text(TRACE)
    return path


def test_what_happens_is_measured_and_the_same_seed_tells_the_same(trace: Path) -> None:
    wanted = scenario.read(trace)
    assert [node.name for node in wanted.nodes] == ["small-0", "small-1", "large-0"]
    heard: list[float] = []
    outcome = scenario_run.run(wanted, heard.append)
    assert heard == [60.0 * number for number in range(21)] == [sample.seconds for sample in outcome.samples]
    by_minute = {round(sample.seconds / 60): sample for sample in outcome.samples}
    assert by_minute[1].pods == {"Running": 2}
    assert by_minute[1].cpu_share == pytest.approx(2 / 8)
    assert by_minute[3].pods == {"Running": 8, "Pending": 4}
    assert by_minute[6].pods["Running"] == 4
    assert by_minute[9].pods["Succeeded"] >= 4
    assert by_minute[13].ready_nodes == 2
    assert by_minute[15].ready_nodes == 3
    assert outcome.refusals == {"0/3 nodes are available: 3 Insufficient cpu.": 12}
    assert len(outcome.scheduling_seconds) == len(outcome.ready_seconds)
    assert [what for _, what in outcome.told][:2] == ["apply deployment/web", "scale deployment/web to 12"]
    assert [what for _, what in outcome.told].count("create 2 of work-") == 3
    again = scenario_run.run(wanted)
    assert (again.samples, again.told) == (outcome.samples, outcome.told)


def test_the_command_writes_a_report(trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report, folder = tmp_path / "report.html", tmp_path / "charts"
    assert sim.main([str(trace), "--output", str(report), "--svg", str(folder)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("0:20:00 of simulated time on 3 nodes")
    assert "Most pending:     4 after 0:03:00" in said
    page = report.read_text()
    assert page.count("<svg") == 4
    assert "scale deployment/web to 12" in page
    for name in ("pods", "utilisation", "nodes", "latency"):
        drawn = ET.parse(folder / f"{name}.svg").getroot()
        assert drawn.findall("{http://www.w3.org/2000/svg}polyline")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stages: absent.yaml", "absent.yaml"),
        ("stages: wrong.yaml", "stages: not an object of Kubernetes"),
        ("nodes: many", "Expected `int | array`"),
        ("speed: 5", "unknown field `speed`"),
        ("duration: 1y", 'duration: time: unknown unit "y" in duration "1y"'),
        ("sample: 2h", "sample: 2h is not above 0 and at most the duration, 1h"),
        ("events: [{at: 1m}]", "events[0]: needs one of apply, create"),
        ("events: [{at: 1m, delete: pod/a, cordon: node-0}]", "and has delete, cordon"),
        ("events: [{delete: pod/a}]", "events[0]: needs either `at` or `every`"),
        ("events: [{every: 0s, delete: pod/a}]", "events[0].every: 0s is not above 0"),
        ("events: [{at: 1m, create: {kind: Pod}}]", "events[0].create: needs metadata.generateName"),
        ("nodes: [{name: a, capacity: {cpu: lots}}]", "nodes[0].capacity.cpu"),
        ("events: [{at: 0s, delete: pod/nobody}]", 'at 0 s, delete: pods "nobody" not found'),
        ("events: [{at: 0s, disconnect: node-9}]", "at 0 s, disconnect: "),
    ],
)
def test_what_cannot_be_carried_out_is_said(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    assert sim.main([str(path)]) == 1
    assert said in capsys.readouterr().err


def test_a_simulation_with_a_speed_can_be_looked_at_and_tells_the_same(
    trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sim.main([str(trace)]) == 0
    _, _, figures = capsys.readouterr().out.partition("\n")
    assert sim.main([str(trace), "--speed", "1000x"]) == 0
    where, _, told = capsys.readouterr().out.partition("\n")
    assert where.startswith("export KUBECONFIG=")
    assert told.partition("\n")[2] == figures
    with pytest.raises(SystemExit):
        sim.main([str(trace), "--speed", "fast"])
    assert "a number such as 100x" in capsys.readouterr().err


def test_pods_of_a_simulation_go_through_stages(trace: Path, tmp_path: Path) -> None:
    (tmp_path / "stages.yaml").write_text(
        "{apiVersion: kwok.x-k8s.io/v1alpha1, kind: Stage, metadata: {name: never}, spec: {resourceRef: {kind: Pod},"
        " selector: {matchLabels: {app: none}}, next: {delete: true}}}"
    )
    trace.write_text(trace.read_text() + "stages: stages.yaml\n")
    outcome = scenario_run.run(scenario.read(trace))
    # A set that says nothing of how pods begin leaves them where they are.
    assert outcome.ready_seconds == []
    assert outcome.scheduling_seconds


def test_a_chart_of_nothing_is_still_a_chart() -> None:
    outcome = scenario_run.Outcome([scenario_run.Sample(0.0, {}, 0, 0.0, 0.0)])
    for svg in scenario_report.charts(outcome).values():
        ET.fromstring(svg)
    assert "To be ready:      no pod was" in list(scenario_report.text(outcome))
