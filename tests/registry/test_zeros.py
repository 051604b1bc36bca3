"""What a client sends as "" or 0 where upstream's types cannot tell that from nothing: charts render such values."""

from __future__ import annotations

from typing import Any

import pytest

from keelback.apimachinery import codecs
from keelback.registry.builtin import strategies

KINDS = {one.kind.__kind__.resource: one.kind for one in strategies()}


def at(tree: Any, path: str) -> Any:
    for part in path.split("."):
        tree = tree[int(part)] if part.isdigit() else tree[part]
    return tree


def given(path: str, value: Any) -> Any:
    """A tree with a value at the end of a path."""
    for part in reversed(path.split(".")):
        value = [value] if part.isdigit() else {part: value}
    return value


@pytest.mark.parametrize(
    ("resource", "path", "zero", "wanted"),
    [
        ("pods", "spec.restartPolicy", "", "Always"),
        ("pods", "spec.dnsPolicy", "", "ClusterFirst"),
        ("pods", "spec.schedulerName", "", "default-scheduler"),
        ("pods", "spec.containers.0.terminationMessagePolicy", "", "File"),
        ("pods", "spec.containers.0.terminationMessagePath", "", "/dev/termination-log"),
        ("pods", "spec.containers.0.ports.0.protocol", "", "TCP"),
        ("pods", "spec.containers.0.livenessProbe.timeoutSeconds", 0, 1),
        ("pods", "spec.containers.0.livenessProbe.periodSeconds", 0, 10),
        ("pods", "spec.containers.0.livenessProbe.successThreshold", 0, 1),
        ("pods", "spec.containers.0.livenessProbe.failureThreshold", 0, 3),
        ("pods", "spec.containers.0.livenessProbe.httpGet.scheme", "", "HTTP"),
        ("pods", "spec.containers.0.livenessProbe.httpGet.path", "", "/"),
        ("pods", "spec.containers.0.env.0.valueFrom.fieldRef.apiVersion", "", "v1"),
        ("services", "spec.type", "", "ClusterIP"),
        ("services", "spec.sessionAffinity", "", "None"),
        ("services", "spec.ports.0.protocol", "", "TCP"),
        ("deployments.apps", "spec.strategy.type", "", "RollingUpdate"),
        ("statefulsets.apps", "spec.podManagementPolicy", "", "OrderedReady"),
        ("cronjobs.batch", "spec.concurrencyPolicy", "", "Allow"),
        ("persistentvolumes", "spec.persistentVolumeReclaimPolicy", "", "Retain"),
        ("secrets", "type", "", "Opaque"),
        # Pointers upstream, where a zero says something.
        ("pods", "spec.terminationGracePeriodSeconds", 0, 0),
        ("deployments.apps", "spec.replicas", 0, 0),
        ("deployments.apps", "spec.revisionHistoryLimit", 0, 0),
        ("pods", "spec.volumes.0.configMap.defaultMode", 0, 0),
    ],
)
def test_a_zero_is_a_default_where_it_says_nothing(resource: str, path: str, zero: Any, wanted: Any) -> None:
    tree = {"metadata": {"name": "x"}, **given(path, zero)}
    assert at(codecs.to_tree(codecs.convert(KINDS[resource], tree)), path) == wanted


def test_there_is_no_less_of_a_resource_than_a_thousandth() -> None:
    tree = {"spec": {"containers": [{"resources": {"requests": {"cpu": "100u", "memory": "1.0001"}}}]}}
    made = codecs.to_tree(codecs.convert(KINDS["pods"], {"metadata": {"name": "x"}, **tree}))
    assert at(made, "spec.containers.0.resources.requests") == {"cpu": "1m", "memory": "1001m"}
