"""Which gates there are in a version, and which of them may be changed."""

from __future__ import annotations

import pytest

from keelback.apimachinery.kubernetes_versions import DEFAULT, SUPPORTED, KubernetesVersion, parse
from keelback.component.feature_gates import Gate, Stage, judged, known, publish
from keelback.component.metrics import Registry

V28, V29, V33 = map(KubernetesVersion, (28, 29, 33))


@pytest.mark.parametrize(
    ("name", "version", "wanted"),
    [
        ("SidecarContainers", "1.28", Gate(default=False, stage=Stage.ALPHA)),
        ("SidecarContainers", "1.29", Gate(default=True, stage=Stage.BETA)),
        ("SidecarContainers", "1.33", Gate(default=True, stage=Stage.GA, locked=True)),
        ("ImageVolume", "1.34", Gate(default=False, stage=Stage.BETA)),
        ("ImageVolume", "1.35", Gate(default=True, stage=Stage.BETA)),
        ("KMSv1", "1.29", Gate(default=False, stage=Stage.DEPRECATED)),
    ],
)
def test_a_gate_is_what_it_was_in_that_version(name: str, version: str, wanted: Gate) -> None:
    assert known(parse(version))[name] == wanted


def test_gates_come_and_go() -> None:
    assert "ContainerRestartRules" not in known(V33)
    assert "APIPriorityAndFairness" in known(V28)
    assert "APIPriorityAndFairness" not in known(DEFAULT)
    assert all(len(known(version)) > 100 for version in SUPPORTED)


@pytest.mark.parametrize(
    ("version", "text", "said"),
    [
        (V33, {"Nothing": "true"}, "unrecognized feature gate: Nothing"),
        (V33, {"SidecarContainers": "false"}, "cannot set feature gate SidecarContainers to false, feature is locked"),
        (V33, {"SidecarContainers": "maybe"}, 'strconv.ParseBool: parsing "maybe": invalid syntax'),
        (V33, {"CBORServingAndStorage": "true"}, "cannot turn feature gate CBORServingAndStorage on"),
        (V33, {"WatchList": "false"}, "cannot turn feature gate WatchList off"),
        (V33, {"AllAlpha": "true"}, "cannot turn feature gate"),
    ],
)
def test_what_cannot_be_is_refused(version: KubernetesVersion, text: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        judged(version, text, ("ImageVolume",))


def test_what_can_be_changed_is_and_what_stays_as_it_is_may_be_named() -> None:
    assert judged(V33, {"ImageVolume": "true"}, ("ImageVolume",)) == {"ImageVolume": True}
    assert judged(V33, {"WatchList": "true", "AllAlpha": "false"}, ()) == {"WatchList": True, "AllAlpha": False}


def test_the_metric_says_how_each_gate_is() -> None:
    registry = Registry()
    publish(registry, V28, {"SidecarContainers": True})
    text = registry.exposition().decode()
    assert 'kubernetes_feature_enabled{name="SidecarContainers",stage="ALPHA"} 1' in text
    assert 'kubernetes_feature_enabled{name="ReadWriteOncePod",stage="BETA"} 1' in text
    assert 'kubernetes_feature_enabled{name="HPAScaleToZero",stage="ALPHA"} 0' in text
