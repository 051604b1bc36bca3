import pytest

from keelback.api.apps_v1 import DaemonSet, Deployment, StatefulSet
from keelback.api.batch_v1 import CronJob, Job
from keelback.apimachinery import codecs
from keelback.apimachinery.meta import replace, with_metadata
from keelback.registry import cron_schedules
from keelback.registry.cronjobs import CronJobStrategy
from keelback.registry.daemonsets import DaemonSetStrategy
from keelback.registry.deployments import DeploymentsStrategy
from keelback.registry.jobs import JobStrategy
from keelback.registry.statefulsets import StatefulSetStrategy

TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
POD = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}


def made(strategy, spec, uid="u-1"):
    obj = codecs.convert(strategy.kind, {"metadata": {"name": "x", "namespace": "d"}, "spec": spec})
    return strategy.prepare_for_create(strategy.default(with_metadata(obj, uid=uid)))


def problems(strategy, obj):
    return [f"{one.field}: {one.body}" for one in strategy.validate(obj)]


def deployment(**spec):
    return made(DeploymentsStrategy(), {"selector": {"matchLabels": {"a": "b"}}, "template": TEMPLATE, **spec})


def job(**spec):
    return made(JobStrategy(), {"template": POD, **spec})


def test_a_deployment_rolls_a_quarter_at_a_time():
    rolling = deployment().spec.strategy.rolling_update
    assert (rolling.max_surge, rolling.max_unavailable) == ("25%", "25%")
    assert deployment(strategy={"type": "Recreate"}).spec.strategy.rolling_update is None


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, ("RollingUpdate", 0)),
        ({"type": "", "rollingUpdate": {"partition": 2}}, ("RollingUpdate", 2)),
        ({"type": "RollingUpdate"}, ("RollingUpdate", None)),
        ({"type": "OnDelete"}, ("OnDelete", None)),
    ],
)
def test_who_names_the_strategy_of_a_stateful_set_gets_no_parameters_of_it(given, wanted):
    strategy = made(StatefulSetStrategy(), {"template": TEMPLATE, "updateStrategy": given}).spec.update_strategy
    rolling = strategy.rolling_update
    assert (strategy.type, None if rolling is None else rolling.partition) == wanted


def test_a_template_gets_pull_policies_but_no_service_links():
    spec = deployment().spec.template.spec
    assert spec.containers[0].image_pull_policy == "Always"
    assert spec.enable_service_links is None


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"selector": {}}, "spec.selector: Invalid value: {}: empty selector is invalid for deployment"),
        (
            {"selector": {"matchLabels": {"a": "c"}}},
            'spec.template.metadata.labels: Invalid value: {"a":"b"}: `selector` does not match template `labels`',
        ),
        ({"replicas": -1}, "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
        (
            {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}},
            "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0",
        ),
        (
            {"strategy": {"type": "Recreate", "rollingUpdate": {}}},
            "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
        ),
        (
            {"minReadySeconds": 600},
            "spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds",
        ),
        (
            {"template": {**TEMPLATE, "spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}},
            'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"',
        ),
    ],
)
def test_what_is_wrong_with_a_deployment(spec, expected):
    assert problems(DeploymentsStrategy(), deployment(**spec)) == [expected]


def test_a_deployment_without_a_selector_is_told_twice():
    assert problems(DeploymentsStrategy(), deployment(selector=None)) == [
        "spec.selector: Required value",
        'spec.template.metadata.labels: Invalid value: {"a":"b"}: `selector` does not match template `labels`',
    ]


def test_a_selector_never_changes():
    old = deployment()
    other = {"selector": {"matchLabels": {"x": "y"}}, "template": {**TEMPLATE, "metadata": {"labels": {"x": "y"}}}}
    found = list(DeploymentsStrategy().validate_update(deployment(**other), old))
    assert [(one.field, one.detail) for one in found] == [("spec.selector", "field is immutable")]


def test_a_daemon_set_counts_its_templates():
    strategy = DaemonSetStrategy()
    first = made(strategy, {"selector": {"matchLabels": {"a": "b"}}, "template": TEMPLATE})
    annotation = "deprecated.daemonset.template.generation"
    assert first.metadata.annotations[annotation] == "1"
    assert first.spec.update_strategy.rolling_update.max_unavailable == 1
    spec = replace(first.spec.template.spec, hostname="h")
    changed = replace(first, spec=replace(first.spec, template=replace(first.spec.template, spec=spec)))
    assert strategy.default(changed, first).metadata.annotations[annotation] == "2"
    assert strategy.default(first, first) == first
    assert isinstance(first, DaemonSet)


def test_most_of_a_stateful_set_never_changes():
    strategy = StatefulSetStrategy()
    old = made(strategy, {"selector": {"matchLabels": {"a": "b"}}, "template": TEMPLATE})
    assert isinstance(old, StatefulSet)
    assert old.spec.update_strategy.rolling_update.partition == 0
    scaled = replace(old, spec=replace(old.spec, replicas=5))
    assert list(strategy.validate_update(scaled, old)) == []
    renamed = replace(old, spec=replace(old.spec, service_name="other"))
    (problem,) = strategy.validate_update(renamed, old)
    assert problem.detail == (
        "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
        "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
    )


def test_a_job_selects_its_pods_by_its_uid():
    one = job()
    labels = {
        "batch.kubernetes.io/controller-uid": "u-1",
        "batch.kubernetes.io/job-name": "x",
        "controller-uid": "u-1",
        "job-name": "x",
    }
    assert one.spec.selector.match_labels == {"batch.kubernetes.io/controller-uid": "u-1"}
    assert one.spec.template.metadata.labels == labels
    assert one.metadata.labels == labels
    assert (one.spec.completions, one.spec.parallelism) == (1, 1)
    assert one.spec.pod_replacement_policy == "TerminatingOrFailed"
    assert problems(JobStrategy(), one) == []


def test_a_job_with_parallelism_alone_has_no_completions():
    one = job(parallelism=5)
    assert (one.spec.completions, one.spec.parallelism) == (None, 5)


def test_a_job_with_a_selector_of_its_own_keeps_it():
    template = {**POD, "metadata": {"labels": {"x": "y"}}}
    one = job(manualSelector=True, selector={"matchLabels": {"x": "y"}}, template=template)
    assert one.spec.template.metadata.labels == {"x": "y"}
    assert one.metadata.labels == {"x": "y"}


def test_what_is_wrong_with_a_job():
    always = {"spec": {"containers": [{"name": "c", "image": "i"}]}}
    assert problems(JobStrategy(), job(template=always)) == [
        'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"'
    ]
    rules = [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42, 1]}},
    ]
    assert problems(JobStrategy(), job(podFailurePolicy={"rules": rules})) == [
        "spec.podFailurePolicy.rules[1].onExitCodes.values: Invalid value: [42,1]: must be ordered"
    ]


def test_the_template_of_a_job_never_changes():
    old = job()
    assert isinstance(old, Job)
    template = replace(old.spec.template, spec=replace(old.spec.template.spec, hostname="h"))
    found = list(JobStrategy().validate_update(replace(old, spec=replace(old.spec, template=template)), old))
    assert [(one.field, one.detail) for one in found] == [("spec.template", "field is immutable")]


def cron_job(schedule="0 0 * * *", **spec):
    return made(CronJobStrategy(), {"schedule": schedule, "jobTemplate": {"spec": {"template": POD}}, **spec})


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            {"schedule": "TZ=UTC 0 0 * * *"},
            'spec.schedule: Invalid value: "TZ=UTC 0 0 * * *": cannot use TZ or CRON_TZ in schedule, '
            "use timeZone field instead",
        ),
        ({"schedule": "nope"}, 'spec.schedule: Invalid value: "nope": expected exactly 5 fields, found 1: [nope]'),
        (
            {"timeZone": "Mars/Olympus"},
            'spec.timeZone: Invalid value: "Mars/Olympus": unknown time zone Mars/Olympus',
        ),
        (
            {"concurrencyPolicy": "Maybe"},
            'spec.concurrencyPolicy: Unsupported value: "Maybe": supported values: "Allow", "Forbid", "Replace"',
        ),
    ],
)
def test_what_is_wrong_with_a_cron_job(spec, expected):
    one = cron_job(**spec)
    assert isinstance(one, CronJob)
    assert problems(CronJobStrategy(), one) == [expected]


@pytest.mark.parametrize("schedule", ["*/5 * * * *", "0 0 1 jan sun", "1-5,7 */2 ? * mon-fri", "@daily", "@every 1h"])
def test_schedules(schedule):
    cron_schedules.check(schedule)


@pytest.mark.parametrize("schedule", ["60 * * * *", "* * 0 * *", "5-1 * * * *", "*/0 * * * *", "x * * * *", "@never"])
def test_no_schedules(schedule):
    with pytest.raises(cron_schedules.ScheduleError):
        cron_schedules.check(schedule)


def test_deployments_show_what_is_ready():
    one = deployment(replicas=3)
    assert isinstance(one, Deployment)
    shown = {column.name: column.value(one, None) for column in DeploymentsStrategy.columns if column.name != "Age"}
    assert shown == {
        "Ready": "0/3",
        "Up-to-date": 0,
        "Available": 0,
        "Containers": "c",
        "Images": "i",
        "Selector": "a=b",
    }
