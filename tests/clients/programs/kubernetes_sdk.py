"""The official Python client: every way it writes, reads, watches and streams. Arguments: a namespace and an image."""

import base64
import sys
import threading
import time

from kubernetes import client, config, dynamic, utils, watch
from kubernetes.client.rest import ApiException
from kubernetes.stream import portforward, stream

NAMESPACE, IMAGE = sys.argv[1:]


def refused(status, call, *arguments, **keywords):
    try:
        call(*arguments, **keywords)
    except ApiException as error:
        assert error.status == status, error
        return error
    raise AssertionError(f"{call} was not refused")


def discovery():
    assert client.VersionApi().get_code().minor.startswith("36")
    assert "v1" in client.CoreApi().get_api_versions().versions
    assert "apps" in [group.name for group in client.ApisApi().get_api_versions().groups]
    assert "pods" in [one.name for one in client.CoreV1Api().get_api_resources().resources]


def configuration():
    core = client.CoreV1Api()
    made = core.create_namespaced_config_map(
        NAMESPACE, client.V1ConfigMap(metadata=client.V1ObjectMeta(generate_name="cm-"), data={"a": "1"})
    )
    name = made.metadata.name
    assert name.startswith("cm-")
    merged = core.patch_namespaced_config_map(name, NAMESPACE, {"data": {"b": "2"}})
    assert merged.data == {"a": "1", "b": "2"}
    patched = core.patch_namespaced_config_map(name, NAMESPACE, [{"op": "remove", "path": "/data/a"}])
    assert patched.data == {"b": "2"}
    applied = core.patch_namespaced_config_map(
        name,
        NAMESPACE,
        {"apiVersion": "v1", "kind": "ConfigMap", "data": {"c": "3"}},
        field_manager="sdk",
        force=True,
        _content_type="application/apply-patch+yaml",
    )
    assert applied.data == {"b": "2", "c": "3"}
    patched.data = {"z": "1"}
    assert (
        "the object has been modified"
        in refused(409, core.replace_namespaced_config_map, name, NAMESPACE, patched).body
    )
    dry = core.create_namespaced_secret(
        NAMESPACE,
        client.V1Secret(metadata=client.V1ObjectMeta(name="s"), string_data={"k": "v"}),
        dry_run="All",
    )
    assert base64.b64decode(dry.data["k"]) == b"v"
    refused(404, core.read_namespaced_secret, "s", NAMESPACE)
    error = refused(422, core.create_namespaced_config_map, NAMESPACE, {"metadata": {"name": "Bad_Name"}})
    assert "metadata.name: Invalid value" in error.body
    for number in range(7):
        core.create_namespaced_config_map(
            NAMESPACE, {"metadata": {"name": f"page-{number}", "labels": {"page": "yes"}}}
        )
    seen, token = [], None
    while token != "":
        page = core.list_namespaced_config_map(NAMESPACE, label_selector="page=yes", limit=3, _continue=token)
        seen += [item.metadata.name for item in page.items]
        token = page.metadata._continue or ""
    assert seen == [f"page-{number}" for number in range(7)]
    core.delete_collection_namespaced_config_map(NAMESPACE, label_selector="page in (yes)")
    assert not core.list_namespaced_config_map(NAMESPACE, label_selector="page").items


def deployment():
    apps, core = client.AppsV1Api(), client.CoreV1Api()
    labels = {"app": "sdk"}
    container = {"name": "main", "image": IMAGE, "imagePullPolicy": "IfNotPresent"}
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "sdk", "namespace": NAMESPACE},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }
    utils.create_from_dict(client.ApiClient(), manifest)
    follower = watch.Watch()
    for event in follower.stream(apps.list_namespaced_deployment, NAMESPACE, timeout_seconds=60):
        if (event["object"].status.ready_replicas or 0) == 2:
            follower.stop()
    assert apps.read_namespaced_deployment_status("sdk", NAMESPACE).status.ready_replicas == 2
    scale = apps.patch_namespaced_deployment_scale("sdk", NAMESPACE, {"spec": {"replicas": 1}})
    assert scale.spec.replicas == 1
    deadline = time.monotonic() + 60
    while len(core.list_namespaced_pod(NAMESPACE, label_selector="app=sdk").items) != 1:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    pod = core.list_namespaced_pod(NAMESPACE, label_selector="app=sdk").items[0]
    core.create_namespaced_pod_eviction(
        pod.metadata.name,
        NAMESPACE,
        client.V1Eviction(metadata=client.V1ObjectMeta(name=pod.metadata.name, namespace=NAMESPACE)),
    )
    apps.delete_namespaced_deployment("sdk", NAMESPACE, propagation_policy="Foreground", grace_period_seconds=1)
    deadline = time.monotonic() + 60
    while core.list_namespaced_pod(NAMESPACE, label_selector="app=sdk").items:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def custom_resources():
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
    }
    group = f"{NAMESPACE}.example.org"
    names = {"plural": "sdks", "singular": "sdk", "kind": "Sdk", "listKind": "SdkList"}
    definitions = client.ApiextensionsV1Api()
    definitions.create_custom_resource_definition(
        {
            "metadata": {"name": f"sdks.{group}"},
            "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [version]},
        }
    )
    try:
        follower = watch.Watch()
        for event in follower.stream(
            definitions.list_custom_resource_definition,
            field_selector=f"metadata.name=sdks.{group}",
            timeout_seconds=30,
        ):
            if any(c.type == "Established" and c.status == "True" for c in event["object"].status.conditions or ()):
                follower.stop()
        custom = client.CustomObjectsApi()
        custom.create_namespaced_custom_object(
            group,
            "v1",
            NAMESPACE,
            "sdks",
            {"apiVersion": f"{group}/v1", "kind": "Sdk", "metadata": {"name": "one"}, "spec": {"size": 1}},
        )
        grown = custom.patch_namespaced_custom_object(group, "v1", NAMESPACE, "sdks", "one", {"spec": {"size": 2}})
        assert grown["spec"]["size"] == 2
        refused(
            422, custom.patch_namespaced_custom_object, group, "v1", NAMESPACE, "sdks", "one", {"spec": {"size": "x"}}
        )
        finder = dynamic.DynamicClient(client.ApiClient())
        resource = finder.resources.get(api_version=f"{group}/v1", kind="Sdk")
        assert [item.metadata.name for item in resource.get(namespace=NAMESPACE).items] == ["one"]
        applied = resource.server_side_apply(
            body={
                "apiVersion": f"{group}/v1",
                "kind": "Sdk",
                "metadata": {"name": "two"},
                "spec": {"size": 5},
            },
            name="two",
            namespace=NAMESPACE,
            field_manager="sdk",
        )
        assert applied.spec.size == 5
        for event in resource.watch(namespace=NAMESPACE, timeout=30, name="two"):
            assert event["object"].metadata.name == "two"
            break
        resource.delete(name="two", namespace=NAMESPACE)
    finally:
        definitions.delete_custom_resource_definition(f"sdks.{group}")


def identity():
    core, access = client.CoreV1Api(), client.AuthorizationV1Api()
    core.create_namespaced_service_account(NAMESPACE, {"metadata": {"name": "robot"}})
    request = core.create_namespaced_service_account_token(
        "robot", NAMESPACE, client.AuthenticationV1TokenRequest(spec=client.V1TokenRequestSpec(audiences=[]))
    )
    review = client.AuthenticationV1Api().create_token_review({"spec": {"token": request.status.token}})
    assert review.status.user.username == f"system:serviceaccount:{NAMESPACE}:robot"
    asked = access.create_self_subject_access_review(
        {"spec": {"resourceAttributes": {"verb": "create", "resource": "pods"}}}
    )
    assert asked.status.allowed
    lease = client.CoordinationV1Api().create_namespaced_lease(
        NAMESPACE, client.V1Lease(metadata=client.V1ObjectMeta(name="l"), spec=client.V1LeaseSpec(holder_identity="me"))
    )
    assert lease.spec.holder_identity == "me"


def watching_from_a_thread():
    core = client.CoreV1Api()
    version = core.list_namespaced_config_map(NAMESPACE).metadata.resource_version

    def write():
        core.create_namespaced_config_map(NAMESPACE, {"metadata": {"name": "watched"}})
        core.delete_namespaced_config_map("watched", NAMESPACE)

    writer = threading.Thread(target=write)
    writer.start()
    seen = []
    follower = watch.Watch()
    for event in follower.stream(
        core.list_namespaced_config_map,
        NAMESPACE,
        resource_version=version,
        field_selector="metadata.name=watched",
        timeout_seconds=30,
    ):
        seen.append(event["type"])
        if event["type"] == "DELETED":
            follower.stop()
    writer.join()
    assert seen == ["ADDED", "DELETED"]


def streams():
    core = client.CoreV1Api()
    core.create_namespaced_pod(
        NAMESPACE,
        {
            "metadata": {"name": "streams"},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [
                    {
                        "name": "main",
                        "image": IMAGE,
                        "imagePullPolicy": "IfNotPresent",
                        "command": [
                            "sh",
                            "-c",
                            "echo started; mkdir /w; echo hi >/w/index.html; httpd -f -p 8080 -h /w",
                        ],
                    }
                ],
            },
        },
    )
    follower = watch.Watch()
    for event in follower.stream(
        core.list_namespaced_pod, NAMESPACE, field_selector="metadata.name=streams", timeout_seconds=60
    ):
        if event["object"].status.phase == "Running":
            follower.stop()
    ask = {"stdin": False, "stdout": True, "stderr": True, "tty": False}
    said = stream(core.connect_get_namespaced_pod_exec, "streams", NAMESPACE, command=["echo", "hello"], **ask)
    assert said == "hello\n", said
    session = stream(
        core.connect_get_namespaced_pod_exec,
        "streams",
        NAMESPACE,
        command=["sh", "-c", "read line; echo got $line; echo bad >&2; exit 3"],
        _preload_content=False,
        **{**ask, "stdin": True},
    )
    session.write_stdin("input\n")
    session.run_forever(timeout=30)
    assert session.read_stdout() == "got input\n"
    assert session.read_stderr() == "bad\n"
    assert session.returncode == 3
    # The name is found when the server runs: httpd needs a moment.
    deadline = time.monotonic() + 30
    while "200 OK" not in (answer := through_the_port(core)):
        assert time.monotonic() < deadline, answer
        time.sleep(0.1)
    assert answer.endswith("hi\n")
    assert core.read_namespaced_pod_log("streams", NAMESPACE) == "started\n"
    for line in core.read_namespaced_pod_log("streams", NAMESPACE, follow=True, _preload_content=False).stream():
        assert line == b"started\n"
        break
    assert core.connect_get_namespaced_pod_proxy("streams:8080", NAMESPACE) == "hi\n"
    core.delete_namespaced_pod("streams", NAMESPACE, grace_period_seconds=0)


def through_the_port(core):
    forward = portforward(core.connect_get_namespaced_pod_portforward, "streams", NAMESPACE, ports="8080")
    connection = forward.socket(8080)
    connection.setblocking(True)
    connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
    answer = b""
    while data := connection.recv(1024):
        answer += data
    connection.close()
    return (forward.error(8080) or "") + answer.decode()


config.load_kube_config()
STEPS = [discovery, configuration, deployment, custom_resources, identity, watching_from_a_thread]
for step in [*STEPS, streams] if IMAGE.startswith("localhost/") else STEPS:
    begun = time.monotonic()
    step()
    print(f"{step.__name__} {time.monotonic() - begun:.1f}")
