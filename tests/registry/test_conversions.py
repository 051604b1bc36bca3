import json

from keelback.api import autoscaling_v1, autoscaling_v2, core_v1, events_v1
from keelback.apimachinery import codecs
from keelback.registry import conversions
from keelback.registry.horizontalpodautoscalers import (
    HorizontalPodAutoscalerStrategy,
    HorizontalPodAutoscalerV1Strategy,
)

TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "none"}


def v2(**spec):
    tree = {"metadata": {"name": "h"}, "spec": {"scaleTargetRef": TARGET, "maxReplicas": 3, **spec}}
    return HorizontalPodAutoscalerStrategy().default(codecs.convert(autoscaling_v2.HorizontalPodAutoscaler, tree))


def v1(**spec):
    tree = {"metadata": {"name": "h"}, "spec": {"scaleTargetRef": TARGET, "maxReplicas": 3, **spec}}
    return HorizontalPodAutoscalerV1Strategy().default(codecs.convert(autoscaling_v1.HorizontalPodAutoscaler, tree))


def test_without_metrics_the_processors_are_kept_at_80_percent():
    (metric,) = v2().spec.metrics
    assert metric.resource.target.average_utilization == 80
    assert v1().spec.target_cpu_utilization_percentage == 80


def test_a_target_for_the_processors_is_said_in_both_versions():
    assert conversions.autoscaler_to_v1(v2()) == v1()
    assert conversions.autoscaler_to_v2(v1()) == v2()


def test_what_v1_cannot_say_stands_in_annotations_and_comes_back():
    scaler = v2(
        minReplicas=2,
        behavior={
            "scaleDown": {"policies": [{"type": "Percent", "value": 10, "periodSeconds": 60}]},
            "scaleUp": {"stabilizationWindowSeconds": 5},
        },
        metrics=[
            {
                "type": "Resource",
                "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "100Mi"}},
            },
            {
                "type": "External",
                "external": {"metric": {"name": "q"}, "target": {"type": "Value", "value": "30"}},
            },
        ],
    )
    old = conversions.autoscaler_to_v1(scaler)
    assert old.spec.target_cpu_utilization_percentage is None
    annotations = old.metadata.annotations
    assert annotations["autoscaling.alpha.kubernetes.io/metrics"] == (
        '[{"type":"Resource","resource":{"name":"memory","targetAverageValue":"100Mi"}},'
        '{"type":"External","external":{"metricName":"q","targetValue":"30"}}]'
    )
    assert json.loads(annotations["autoscaling.alpha.kubernetes.io/behavior"])["ScaleDown"] == {
        "StabilizationWindowSeconds": None,
        "SelectPolicy": "Max",
        "Policies": [{"Type": "Percent", "Value": 10, "PeriodSeconds": 60}],
        "Tolerance": None,
    }
    assert conversions.autoscaler_to_v2(old) == scaler


def test_a_spoilt_annotation_counts_as_none():
    old = v1()
    spoilt = conversions.with_metadata(old, annotations={conversions.METRICS_ANNOTATION: "{"})
    assert len(conversions.autoscaler_to_v2(spoilt).spec.metrics) == 1


def test_events_keep_everything_in_both_versions():
    tree = {
        "metadata": {"name": "e", "namespace": "d"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "d"},
        "reason": "Started",
        "message": "it runs",
        "source": {"component": "kubelet", "host": "n"},
        "count": 3,
        "type": "Normal",
        "firstTimestamp": "2026-11-23T10:00:00Z",
        "series": {"count": 2, "lastObservedTime": "2026-11-23T10:00:00.000000Z"},
    }
    event = codecs.convert(core_v1.Event, tree)
    newer = conversions.event_from_core(event)
    assert isinstance(newer, events_v1.Event)
    assert (newer.note, newer.regarding.name, newer.deprecated_count) == ("it runs", "p", 3)
    assert conversions.event_to_core(newer) == event
    stored = codecs.encode_stored(event)
    assert conversions.event_to_storage(conversions.event_from_storage(stored)) == stored
