"""What is wrong with new, changed and reported objects of apps and batch, in upstream's words and as often."""

from __future__ import annotations

from typing import Any

import pytest

from keelback.apimachinery import codecs
from keelback.apimachinery.meta import replace
from keelback.registry.builtin import strategies

STRATEGIES = {one.kind.__kind__.resource: one for one in strategies()}
POD = {"containers": [{"name": "c", "image": "i"}]}
LABELS = {"metadata": {"labels": {"a": "b"}}}
SELECTED = {"selector": {"matchLabels": {"a": "b"}}, "template": {**LABELS, "spec": POD}}
JOB_POD = {**LABELS, "spec": {**POD, "restartPolicy": "Never"}}
JOB = {"manualSelector": True, "selector": {"matchLabels": {"a": "b"}}, "template": JOB_POD}
CRON = {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": JOB_POD}}}
IMMUTABLE = "field is immutable"


def made(resource: str, tree: dict[str, Any]) -> Any:
    strategy = STRATEGIES[resource]
    metadata = {"name": "x", "namespace": "d", "uid": "u", **tree.get("metadata", {})}
    given = codecs.convert(strategy.kind, {**tree, "metadata": metadata})
    return replace(strategy.default(given), status=given.status) if "status" in tree else strategy.default(given)


def refused(resource: str, tree: dict[str, Any]) -> list[str]:
    return [f"{one.field}: {one.body}" for one in STRATEGIES[resource].validate(made(resource, tree))]


def changed(resource: str, old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    before = made(resource, old)
    after = STRATEGIES[resource].prepare_for_update(made(resource, new), before)
    return [f"{one.field}: {one.body}" for one in STRATEGIES[resource].validate_update(after, before)]


def reported(old: dict[str, Any], new: dict[str, Any], **spec: Any) -> list[str]:
    before, after = (made("jobs.batch", {"spec": {**JOB, **spec}, "status": one}) for one in (old, new))
    return [f"{one.field}: {one.body}" for one in STRATEGIES["jobs.batch"].validate_status_update(after, before)]


@pytest.mark.parametrize(
    ("resource", "tree", "expected"),
    [
        (
            "deployments.apps",
            {"spec": {**SELECTED, "strategy": {"type": "x"}}},
            [
                'spec.strategy: Unsupported value: {"Type":"x","RollingUpdate":null}: supported values: "Recreate", '
                '"RollingUpdate"'
            ],
        ),
        (
            "deployments.apps",
            {"spec": {**SELECTED, "strategy": {"rollingUpdate": {"maxUnavailable": "a", "maxSurge": "0%"}}}},
            [
                'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "a": a valid percent string must be a '
                "numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is "
                "'[0-9]+%')",
                'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "a": may not be 0 when `maxSurge` is 0',
            ],
        ),
        # The pods of a StatefulSet are looked at when they are made.
        (
            "statefulsets.apps",
            {"spec": {**SELECTED, "template": {**LABELS, "spec": {"containers": [{"name": "A"}]}}}},
            [],
        ),
        (
            "statefulsets.apps",
            {"spec": {"serviceName": "a.b", "template": {**LABELS, "spec": {**POD, "restartPolicy": "Never"}}}},
            [
                'spec.serviceName: Invalid value: "a.b": must not contain dots',
                "spec.selector: Required value",
                'spec.template.metadata.labels: Invalid value: {"a":"b"}: `selector` does not match template `labels`',
                'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"',
            ],
        ),
        (
            "controllerrevisions.apps",
            {"revision": 1, "data": [1]},
            ["data: Required value: data must be a valid JSON object"],
        ),
        (
            "cronjobs.batch",
            {"metadata": {"name": "x" * 53}, "spec": {**CRON, "concurrencyPolicy": "x"}},
            [
                'spec.concurrencyPolicy: Unsupported value: "x": supported values: "Allow", "Forbid", "Replace"',
                f'metadata.name: Invalid value: "{"x" * 53}": must be no more than 52 bytes',
            ],
        ),
        (
            "jobs.batch",
            {
                "spec": {
                    **JOB,
                    "completionMode": "Indexed",
                    "completions": 2,
                    "successPolicy": {"rules": [{"succeededIndexes": "", "succeededCount": 1}]},
                }
            },
            [
                "spec.successPolicy.rules[0].succeededCount: Invalid value: 1: must be less than or equal to 0 (the "
                "number of indexes in the specified succeededIndexes field)"
            ],
        ),
    ],
)
def test_what_is_refused(resource: str, tree: dict[str, Any], expected: list[str]) -> None:
    assert refused(resource, tree) == expected


NEGATIVE = "must be greater than or equal to 0"


@pytest.mark.parametrize(
    ("resource", "old", "new", "expected"),
    [
        # Some kinds look at the new object twice, and say everything twice.
        *(
            (
                resource,
                {"spec": SELECTED},
                {"spec": {**SELECTED, field: -1}},
                [f"spec.{field}: Invalid value: -1: {NEGATIVE}"] * times,
            )
            for resource, field, times in (
                ("deployments.apps", "replicas", 1),
                ("replicasets.apps", "replicas", 2),
                ("statefulsets.apps", "replicas", 1),
                ("daemonsets.apps", "minReadySeconds", 2),
            )
        ),
        (
            "jobs.batch",
            {"spec": JOB},
            {"spec": {**JOB, "backoffLimit": -1}},
            [f"spec.backoffLimit: Invalid value: -1: {NEGATIVE}"] * 2,
        ),
        (
            "cronjobs.batch",
            {"spec": {**CRON, "schedule": "TZ=UTC * * * * *"}},
            {"spec": {**CRON, "schedule": "TZ=UTC 1 * * * *", "timeZone": "UTC"}},
            [
                'spec.schedule: Invalid value: "TZ=UTC 1 * * * *": cannot use both timeZone field and TZ or CRON_TZ in '
                "schedule"
            ],
        ),
        ("cronjobs.batch", {"spec": {**CRON, "timeZone": "No/Such"}}, {"spec": {**CRON, "timeZone": "No/Such"}}, []),
        (
            "statefulsets.apps",
            {"spec": {**SELECTED, "serviceName": "A"}},
            {"spec": {**SELECTED, "serviceName": "A"}},
            [],
        ),
    ],
)
def test_what_may_change(resource: str, old: Any, new: Any, expected: list[str]) -> None:
    assert changed(resource, old, new) == expected


def job(suspend: bool, status: dict[str, Any], **pod: Any) -> dict[str, Any]:
    template = {**JOB_POD, "spec": {**JOB_POD["spec"], **pod}}
    return {"spec": {**JOB, "suspend": suspend, "template": template}, "status": status}


STARTED = {"startTime": "2026-01-01T00:00:00Z"}
PAUSED = {**STARTED, "conditions": [{"type": "Suspended", "status": "True"}]}
MORE = {"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}]}


@pytest.mark.parametrize(
    ("suspended", "status", "change", "field"),
    [
        (True, {}, {"nodeSelector": {"a": "b"}}, ""),
        (True, PAUSED, {"nodeSelector": {"a": "b"}}, ""),
        (True, {}, MORE, ""),
        (True, PAUSED, MORE, ""),
        (True, {}, {"hostNetwork": True}, "spec.template.spec"),
        (True, STARTED, {"nodeSelector": {"a": "b"}}, "spec.template"),
        (True, {**PAUSED, "active": 1}, MORE, "spec.template"),
        (False, {}, MORE, "spec.template"),
    ],
)
def test_a_job_at_rest_may_still_be_placed(suspended: bool, status: Any, change: Any, field: str) -> None:
    found = changed("jobs.batch", job(suspended, status), job(suspended, status, **change))
    assert [one.partition(":")[0] for one in found] == ([field] if field else [])


def true(*conditions: str) -> dict[str, Any]:
    return {"conditions": [{"type": one, "status": "True"} for one in conditions]}


SUCCESS = {"rules": [{"succeededCount": 1}]}


@pytest.mark.parametrize(
    ("old", "new", "spec", "expected"),
    [
        (
            {},
            {**true("Complete", "Failed"), "active": 1},
            {},
            [
                "status.conditions: Invalid value: cannot set Complete=True and Failed=true conditions",
                "status.completionTime: Required value: completionTime is required for Complete jobs",
                "status.conditions: Invalid value: cannot set Failed=True condition without the FailureTarget=true "
                "condition",
                "status.conditions: Invalid value: cannot set Complete=True condition without the "
                "SuccessCriteriaMet=true condition",
                "status.active: Invalid value: 1: active>0 is invalid for finished job",
                "status.startTime: Required value: startTime is required for finished job",
            ],
        ),
        (
            {},
            {**true("FailureTarget", "Failed"), "uncountedTerminatedPods": {"failed": ["u"]}},
            {"suspend": True, "completions": 0},
            [
                'status.uncountedTerminatedPods: Invalid value: {"Succeeded":null,"Failed":["u"]}: must be empty for '
                "finished job"
            ],
        ),
        (
            {**STARTED, **true("SuccessCriteriaMet", "Complete"), "completionTime": "2026-01-02T00:00:00Z"},
            {**STARTED, **true("SuccessCriteriaMet", "Complete"), "completionTime": "2025-01-02T00:00:00Z"},
            {},
            [
                'status.completionTime: Invalid value: "2025-01-02T00:00:00Z": must be equal to or after `startTime`',
                f'status.completionTime: Invalid value: "2025-01-02T00:00:00Z": {IMMUTABLE}',
            ],
        ),
        (
            {**STARTED, **true("Complete"), "completionTime": "2026-01-02T00:00:00Z"},
            {**STARTED, **true("Complete"), "completionTime": "2026-01-02T00:00:00Z", "ready": 1},
            {"completionMode": "Indexed", "completions": 1, "successPolicy": SUCCESS},
            [
                "status.ready: Invalid value: 1: cannot set more ready pods than active",
                "status.conditions: Invalid value: cannot set Complete=True for Job with SuccessPolicy unless "
                "SuccessCriteriaMet=True",
            ],
        ),
    ],
)
def test_what_a_job_may_report(old: Any, new: Any, spec: Any, expected: list[str]) -> None:
    assert reported(old, new, **spec) == expected
