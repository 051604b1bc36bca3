from datetime import UTC, datetime, timedelta

import pytest

from keelback.api.core_v1 import Pod
from keelback.apimachinery import codecs
from keelback.apimachinery.meta import replace, with_metadata
from keelback.registry import pod_cells, pod_specs
from keelback.registry.pods import PodStrategy

NOW = datetime(2026, 11, 23, 10, 0, 0, tzinfo=UTC)
STRATEGY = PodStrategy()


def pod(spec=None, status=None, **metadata):
    wanted = {"containers": [{"name": "c", "image": "nginx"}], **(spec or {})}
    made = codecs.convert(Pod, {"metadata": {"name": "p", "namespace": "d", **metadata}, "spec": wanted})
    made = STRATEGY.default(made)
    if status is not None:
        made = replace(made, status=codecs.convert(Pod, {"metadata": {}, "spec": {}, "status": status}).status)
    return made


def problems(given):
    return [f"{one.field}: {one.body}" for one in STRATEGY.validate(given)]


def cells(given):
    return [column.value(given, NOW) for column in STRATEGY.columns]


def container(**fields):
    return {"containers": [{"name": "c", "image": "i", **fields}]}


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.25", "IfNotPresent"),
        ("reg:5000/nginx", "Always"),
        ("reg:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:abc", "IfNotPresent"),
        (f"nginx:latest@sha256:{'0' * 64}", "Always"),
        (f"nginx@sha256:{'0' * 64}", "IfNotPresent"),
        ("Example.com/nginx", "Always"),
        ("Nginx", "IfNotPresent"),
        ("nginx latest", "IfNotPresent"),
        ("0" * 64, "IfNotPresent"),
    ],
)
def test_the_pull_policy_follows_the_tag(image, policy):
    assert pod_specs.pull_policy(image) == policy


def test_a_pod_gets_its_defaults_and_its_first_status():
    made = pod(container(resources={"limits": {"cpu": "1", "memory": "1Gi"}}) | {"volumes": [{"name": "v"}]})
    assert made.spec.enable_service_links is True
    assert made.spec.containers[0].image_pull_policy == "Always"
    assert made.spec.containers[0].resources.requests == {"cpu": "1", "memory": "1Gi"}
    assert made.spec.volumes[0].empty_dir is not None
    assert (made.status.phase, made.status.qos_class) == ("Pending", "Guaranteed")


def test_a_pod_on_the_network_of_its_node_takes_its_ports_there():
    made = pod(container(ports=[{"containerPort": 80}]) | {"hostNetwork": True})
    assert made.spec.containers[0].ports[0].host_port == 80


def test_a_plain_pod_is_valid():
    assert problems(pod()) == []


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"containers": []}, "spec.containers: Required value"),
        (
            container(image=" i"),
            'spec.containers[0].image: Invalid value: " i": must not have leading or trailing whitespace',
        ),
        (
            container(ports=[{"containerPort": 70000}]),
            "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (
            container(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}),
            'spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1',
        ),
        (
            container(volumeMounts=[{"name": "none", "mountPath": "/x"}]),
            'spec.containers[0].volumeMounts[0].name: Not found: "none"',
        ),
        (
            container(livenessProbe={"tcpSocket": {"port": 1}, "successThreshold": 2}),
            "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
        ),
        (
            container(env=[{"name": "A", "value": "b", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]),
            'spec.containers[0].env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty',
        ),
        (
            {"restartPolicy": "Sometimes"},
            'spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"',
        ),
        (
            {"tolerations": [{"key": "a", "tolerationSeconds": 1, "effect": "NoSchedule"}]},
            "spec.tolerations[0].effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when "
            "`tolerationSeconds` is set",
        ),
        (
            {"volumes": [{"name": "v", "hostPath": {"path": "/a/../b"}}]},
            "spec.volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'",
        ),
        (
            {"initContainers": [{"name": "c", "image": "i"}]},
            'spec.initContainers[0].name: Duplicate value: "c"',
        ),
    ],
)
def test_what_is_wrong_is_said_in_upstreams_words(spec, expected):
    assert problems(pod(spec)) == [expected]


def test_an_image_may_change_and_hardly_anything_else():
    old = pod()
    image = replace(old.spec.containers[0], image="other")
    changed = replace(old, spec=replace(old.spec, containers=(image,)))
    assert list(STRATEGY.validate_update(changed, old)) == []
    moved = replace(old, spec=replace(old.spec, hostname="h"))
    (problem,) = STRATEGY.validate_update(moved, old)
    assert (problem.field, problem.type) == ("spec", "FieldValueForbidden")
    assert problem.detail.startswith(
        "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    )


def test_a_toleration_may_be_added_but_not_taken_away():
    old = pod({"tolerations": [{"key": "a", "operator": "Exists"}]})
    more = pod({"tolerations": [{"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Exists"}]})
    assert list(STRATEGY.validate_update(more, old)) == []
    assert [one.field for one in STRATEGY.validate_update(old, more)] == ["spec.tolerations"]


def test_binding_gives_a_node_and_nothing_is_held_against_it():
    old = pod()
    bound = replace(old, spec=replace(old.spec, node_name="n"))
    assert list(STRATEGY.validate_part_update("binding", bound, old)) == []
    assert [one.field for one in STRATEGY.validate_update(bound, old)] == ["spec"]


def test_a_resize_keeps_the_class_of_service():
    old = pod(container(resources={"requests": {"cpu": "1"}}))
    more = pod(container(resources={"requests": {"cpu": "2"}}))
    none = pod(container())
    assert list(STRATEGY.validate_part_update("resize", more, old)) == []
    assert [one.detail for one in STRATEGY.validate_part_update("resize", none, old)] == [
        "Pod QOS Class may not change as a result of resizing",
        "resource requests cannot be removed",
    ]


def test_a_pod_on_a_node_gets_its_grace_and_others_go_at_once():
    unbound, bound = pod(), pod({"nodeName": "n", "terminationGracePeriodSeconds": 7})
    assert STRATEGY.graceful_deletion_seconds(unbound, None) == 0
    assert STRATEGY.graceful_deletion_seconds(bound, None) == 7
    assert STRATEGY.graceful_deletion_seconds(bound, 3) == 3
    assert STRATEGY.graceful_deletion_seconds(bound, -1) == 1
    ended = replace(bound, status=replace(bound.status, phase="Succeeded"))
    assert STRATEGY.graceful_deletion_seconds(ended, None) == 0


def test_a_status_update_leaves_the_spec_and_the_owners():
    old = pod(ownerReferences=[{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u"}])
    new = with_metadata(replace(old, spec=replace(old.spec, node_name="other")), owner_references=())
    kept = STRATEGY.prepare_for_status_update(replace(new, status=replace(new.status, qos_class="")), old)
    assert kept.spec == old.spec
    assert kept.metadata.owner_references == old.metadata.owner_references
    assert kept.status.qos_class == "BestEffort"


def test_the_row_of_a_running_pod():
    running = {"startedAt": "2026-11-23T09:00:00Z"}
    ended = {"exitCode": 1, "finishedAt": "2026-11-23T09:55:00Z"}
    status = {
        "phase": "Running",
        "podIP": "10.0.0.1",
        "podIPs": [{"ip": "10.0.0.1"}],
        "containerStatuses": [
            {
                "name": "c",
                "ready": True,
                "restartCount": 2,
                "state": {"running": running},
                "lastState": {"terminated": ended},
            }
        ],
    }
    made = with_metadata(pod({"nodeName": "n"}, status), creation_timestamp=NOW - timedelta(hours=1))
    assert cells(made) == ["1/1", "Running", "2 (5m ago)", "60m", "10.0.0.1", "n", "<none>", "<none>"]


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ({"phase": "Pending"}, "Pending"),
        ({"phase": "Failed", "reason": "Evicted"}, "Evicted"),
        (
            {"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]},
            "SchedulingGated",
        ),
        (
            {"phase": "Running", "containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}]},
            "CrashLoopBackOff",
        ),
        (
            {"phase": "Succeeded", "containerStatuses": [{"state": {"terminated": {"reason": "Completed"}}}]},
            "Completed",
        ),
        ({"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"exitCode": 3}}}]}, "ExitCode:3"),
        ({"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"signal": 9}}}]}, "Signal:9"),
    ],
)
def test_the_state_of_a_pod_in_one_word(status, word):
    assert pod_cells.summary(pod(None, status)).reason == word


@pytest.mark.parametrize(
    ("state", "word"),
    [
        ({"running": {}}, "Init:0/1"),
        ({"waiting": {"reason": "PodInitializing"}}, "Init:0/1"),
        ({"waiting": {"reason": "ErrImagePull"}}, "Init:ErrImagePull"),
        ({"terminated": {"exitCode": 2}}, "Init:ExitCode:2"),
        ({"terminated": {"exitCode": 2, "reason": "Error"}}, "Init:Error"),
    ],
)
def test_the_state_of_a_pod_whose_init_container_has_not_ended(state, word):
    spec = {"initContainers": [{"name": "i", "image": "i"}]}
    status = {"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": state}]}
    assert pod_cells.summary(pod(spec, status)).reason == word


def test_a_pod_that_is_being_deleted_says_so():
    going = with_metadata(pod(None, {"phase": "Running"}), deletion_timestamp=NOW)
    assert pod_cells.summary(going).reason == "Terminating"
    done = replace(going, status=replace(going.status, phase="Succeeded"))
    assert pod_cells.summary(done).reason == "Succeeded"


def test_what_pods_are_selected_by():
    import msgspec

    made = pod({"nodeName": "n", "hostNetwork": True, "serviceAccountName": "s"})
    narrow = msgspec.json.Decoder(STRATEGY.field_type).decode(STRATEGY.encode(made))
    fields = STRATEGY.fields(narrow)
    assert fields["spec.nodeName"] == "n"
    assert fields["spec.hostNetwork"] == "true"
    assert fields["spec.restartPolicy"] == "Always"
    assert fields["status.phase"] == "Pending"
    assert fields["status.podIP"] == ""


def test_what_had_better_not_be_said_is_warned_of_once():
    twice = [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]
    ports = [{"containerPort": 80, "name": "a"}, {"containerPort": 80, "name": "b"}]
    made = pod(container(env=twice, ports=ports) | {"nodeSelector": {"beta.kubernetes.io/os": "linux"}})
    assert list(STRATEGY.warnings(made, None)) == [
        'spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead',
        'spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply',
        "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
    ]
    assert list(STRATEGY.warnings(made, made)) == []
