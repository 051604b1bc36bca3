"""Scenarios on a real runtime inside a node: `on_node.py SCENARIO SOCKET ADDRESS CGROUP BUSYBOX`. No test by itself."""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import json
import sys
from pathlib import Path

import grpc

from keelback.api.core_v1 import (
    ConfigMap,
    ConfigMapEnvSource,
    Container,
    EmptyDirVolumeSource,
    EnvFromSource,
    EnvVar,
    EnvVarSource,
    ExecAction,
    GRPCAction,
    HTTPGetAction,
    ImageVolumeSource,
    LocalObjectReference,
    ObjectFieldSelector,
    Pod,
    PodSecurityContext,
    PodSpec,
    PodStatus,
    Probe,
    ResourceRequirements,
    Secret,
    SecretVolumeSource,
    SecurityContext,
    TCPSocketAction,
    Volume,
    VolumeMount,
)
from keelback.apimachinery.meta import ObjectMeta, replace
from keelback.bootstrap import images
from keelback.concurrency.clock import SystemClock
from keelback.cri.containerd import CRIRuntime
from keelback.kubelet.cgroups import Cgroups
from keelback.kubelet.config import KubeletConfig
from keelback.testing.image_registry import ImageRegistry
from keelback.volume.mounts import KernelMounter

IMAGE = "localhost/busybox:latest"
ROOT = Path("/var/lib/kubelet")
BUSYBOX = Path(sys.argv[-1])


def a_world(socket: str, address: str, cgroup: str):
    spec = importlib.util.spec_from_file_location("kubelet_world", Path(__file__).with_name("conftest.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = KubeletConfig(node_name="node", node_ips=(address,), cgroup_root=cgroup, endpoint_drain_seconds=0.0)
    return module.World(
        ROOT,
        runtime=CRIRuntime(socket),
        clock=SystemClock(),
        mounter=KernelMounter(),
        config=config,
        cgroups=Cgroups(cgroup),
    )


def shell(name: str, script: str, **fields) -> Container:
    return Container(name=name, image=IMAGE, command=("/bin/busybox", "sh", "-c", script), **fields)


def a_pod(name: str, *containers: Container, **spec) -> Pod:
    metadata = ObjectMeta(name=name, namespace="default", uid=f"uid-{name}")
    return Pod(metadata=metadata, spec=PodSpec(containers=containers, termination_grace_period_seconds=2, **spec))


def log_of(worker, name: str) -> str:
    return Path(worker.observed.latest(name).log_path).read_text()


async def remove(world, worker) -> None:
    world.delete(worker, grace=1)
    await world.until(lambda: worker.pod.metadata.name in world.removed)


async def lives(world) -> None:
    """Everything that a container may be given, and nothing left of it afterwards."""
    world.objects.held[ConfigMap, "settings"] = ConfigMap(metadata=ObjectMeta(name="settings"), data={"MODE": "fast"})
    world.objects.held[Secret, "keys"] = Secret(metadata=ObjectMeta(name="keys"), data={"password": b"pw"})
    pod_ip = EnvVarSource(field_ref=ObjectFieldSelector(field_path="status.podIP"))
    main = shell(
        "main",
        "busybox env; busybox cat /s/password /etc/resolv.conf /etc/hosts; busybox id; busybox ls -l /m/sub;"
        "busybox httpd -p 8080 -h /s; exec busybox sleep 1000",
        env=(EnvVar(name="IP", value_from=pod_ip), EnvVar(name="PATH", value="/bin")),
        env_from=(EnvFromSource(config_map_ref=ConfigMapEnvSource(name="settings")),),
        resources=ResourceRequirements(limits={"cpu": "200m", "memory": "64Mi"}),
        volume_mounts=(
            VolumeMount(name="s", mount_path="/s"),
            VolumeMount(name="m", mount_path="/m"),
            VolumeMount(name="m", mount_path="/deep", sub_path="sub"),
        ),
        security_context=SecurityContext(run_as_user=1000, allow_privilege_escalation=False),
        startup_probe=Probe(tcp_socket=TCPSocketAction(port=8080), period_seconds=1),
        readiness_probe=Probe(http_get=HTTPGetAction(port=8080, path="/password"), period_seconds=1),
        liveness_probe=Probe(exec=ExecAction(command=("/bin/busybox", "true")), period_seconds=1),
    )
    pod = a_pod(
        "lives",
        main,
        init_containers=(
            shell(
                "prepare", "busybox echo made > /deep/file", volume_mounts=main.volume_mounts, resources=main.resources
            ),
        ),
        volumes=(
            Volume(name="s", secret=SecretVolumeSource(secret_name="keys", default_mode=0o444)),
            Volume(name="m", empty_dir=EmptyDirVolumeSource(medium="Memory", size_limit="1Mi")),
        ),
        security_context=PodSecurityContext(fs_group=2000, run_as_group=3000),
    )
    worker = world.work(pod)
    await world.until(world.is_ready)
    log = log_of(worker, "main")
    for expected in (
        "MODE=fast",
        f"IP={world.status.pod_ip}",
        "stdout F pwsearch default.svc.cluster.local",
        "options ndots:5",
        f"{world.status.pod_ip}\tlives",
        "uid=1000 gid=3000 groups=2000,3000",
        "file",
    ):
        assert expected in log, f"{expected!r} is not in the log:\n{log}"
    uid = pod.metadata.uid
    memory = Path(f"/sys/fs/cgroup/memory{world.node.config.cgroup_root}/kubepods/burstable/pod{uid}")
    if memory.parent.exists():
        assert (memory / "memory.limit_in_bytes").read_text().strip() == str(64 << 20)
    await remove(world, worker)
    assert not await world.runtime.list_pod_sandboxes()
    left = left_behind(world, uid)
    assert left == [], left


def left_behind(world, uid: str) -> list[str]:
    """What is still there of a pod."""
    mounts = [str(path) for path in KernelMounter().mounted_below(ROOT / "pods")]
    directories = [*(ROOT / "pods").iterdir(), *Path("/var/log/pods").iterdir(), *Path("/var/log/containers").iterdir()]
    cgroups = [one for one in world.node.cgroups.known_uids() if one == uid]
    return mounts + [str(path) for path in directories] + cgroups


async def ends(world) -> None:
    """How containers end is told: by exit code, message, log and the kernel's killing."""
    big = "busybox dd if=/dev/zero of=/dev/null bs=200M count=1"
    limited = ResourceRequirements(limits={"memory": "16Mi"})
    world.work(a_pod("oom", shell("c", big, resources=limited), restart_policy="Never"))
    said = shell("c", "busybox echo -n done > /dev/termination-log; exit 7")
    logged = shell("d", "busybox echo it broke; exit 3", termination_message_policy="FallbackToLogsOnError")
    world.work(a_pod("said", said, logged, restart_policy="Never"))
    sidecar = shell("s", "exec busybox sleep 1000", restart_policy="Always")
    world.work(a_pod("sidecar", shell("c", "exit 0"), restart_policy="Never", init_containers=(sidecar,)))
    await world.until(
        lambda: [phase(world, name) for name in ("oom", "said", "sidecar")] == ["Failed", "Failed", "Succeeded"]
    )
    assert world.statuses["oom"].container_statuses[0].state.terminated.reason == "OOMKilled"
    first, second = (one.state.terminated for one in world.statuses["said"].container_statuses)
    assert (first.exit_code, first.message) == (7, "done")
    assert (second.exit_code, second.message) == (3, "it broke\n")
    assert world.statuses["sidecar"].init_container_statuses[0].state.terminated is not None


async def adopts(world) -> None:
    """A kubelet that comes later goes on with what runs."""
    pod = a_pod("adopts", shell("c", "exec busybox sleep 1000"))
    first = world.work(pod)
    await world.until(world.is_ready)
    before = first.observed.containers[0].container.id
    world.stop()
    told, world.status = world.status, None
    second = world.work(replace(pod, status=told))
    await world.until(world.is_ready)
    assert [one.container.id for one in second.observed.containers] == [before]


async def pulls(world) -> None:
    """Images come from a registry that asks who it is, by policy; what cannot be had is told and tried again later."""
    content = {"bin/busybox": images.File.program(await asyncio.to_thread(BUSYBOX.read_bytes))}
    application = images.from_files("app:1", content, images.ImageConfig(command=("/bin/busybox", "sleep", "1000")))
    with ImageRegistry({"team/app:1": application}, "me:pw").serving() as registry:
        image = f"{registry.address}/team/app:1"
        login = json.dumps({"auths": {registry.address: {"auth": base64.b64encode(b"me:pw").decode()}}})
        world.objects.held[Secret, "login"] = Secret(
            type="kubernetes.io/dockerconfigjson", data={".dockerconfigjson": login.encode()}
        )
        secrets = (LocalObjectReference(name="login"),)
        world.work(a_pod("stranger", Container(name="c", image=image)))
        await world.until(lambda: waiting(world, "stranger") == "ImagePullBackOff")
        assert any("401 Unauthorized" in message or "authorization failed" in message for *_, message in world.events)
        world.work(a_pod("known", Container(name="c", image=image), image_pull_secrets=secrets))
        await world.until(lambda: phase(world, "known") == "Running")
        count = len(registry.pulls)
        for policy, expected in (("IfNotPresent", count), ("Never", count), ("Always", count + 1)):
            container = Container(name="c", image=image, image_pull_policy=policy)
            name = policy.lower()
            world.work(a_pod(name, container, image_pull_secrets=secrets))
            await world.until(lambda name=name: phase(world, name) == "Running")
            assert len(registry.pulls) == expected, (policy, registry.pulls)
        count = len(registry.pulls)
        shown = Volume(name="v", image=ImageVolumeSource(reference=image, pull_policy="Always"))
        reads = shell("c", "busybox ls -l /v/bin", volume_mounts=(VolumeMount(name="v", mount_path="/v"),))
        reader = world.work(a_pod("shows", reads, volumes=(shown,), image_pull_secrets=secrets, restart_policy="Never"))
        await world.until(lambda: phase(world, "shows") == "Succeeded")
        assert "busybox" in log_of(reader, "c")
        assert len(registry.pulls) == count + 1
        missing = Container(name="c", image=f"{registry.address}/team/none:1")
        world.work(a_pod("missing", missing, image_pull_secrets=secrets))
        await world.until(lambda: waiting(world, "missing") == "ImagePullBackOff")
        unnamed = Container(name="c", image="Upper")
        world.work(a_pod("unnamed", unnamed))
        await world.until(lambda: waiting(world, "unnamed") == "InvalidImageName")


async def probes(world) -> None:
    """A server that speaks grpc.health.v1 stays as long as it is well; where nobody answers there is a restart."""
    answers: list[str] = []

    async def check(request: bytes, _: object) -> bytes:
        service = request[2:].decode()
        answers.append(service)
        # HealthCheckResponse: field 1 is the status, 1 is SERVING and 2 is NOT_SERVING.
        return b"\x08\x02" if service == "ill" else b"\x08\x01"

    method = grpc.unary_unary_rpc_method_handler(check)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": method}),))
    port = server.add_insecure_port(f"{world.node.config.node_ips[0]}:0")
    await server.start()
    try:
        for name, action in (
            ("well", GRPCAction(port=port)),
            ("named", GRPCAction(port=port, service="named")),
            ("ill", GRPCAction(port=port, service="ill")),
            ("wrong", GRPCAction(port=port + 1)),
        ):
            probe = Probe(grpc=action, period_seconds=1, failure_threshold=1, termination_grace_period_seconds=1)
            # On the network of the node, where the server is.
            world.work(a_pod(name, shell("c", "exec busybox sleep 1000", liveness_probe=probe), host_network=True))

        def restarts(name: str) -> int:
            told = world.statuses.get(name, PodStatus()).container_statuses
            return told[0].restart_count if told else 0

        await world.until(lambda: restarts("ill") and restarts("wrong"))
        await world.until(lambda: answers.count("") > 2 and answers.count("named") > 2)
        assert (restarts("well"), restarts("named")) == (0, 0)
    finally:
        await server.stop(None)


def phase(world, name: str) -> str:
    return world.statuses.get(name, PodStatus()).phase


def waiting(world, name: str) -> str:
    """Why a pod's container waits."""
    told = world.statuses.get(name, PodStatus()).container_statuses
    return told[0].state.waiting.reason if told and told[0].state.waiting is not None else ""


async def main() -> None:
    world = a_world(*sys.argv[2:5])
    scenario = {"lives": lives, "ends": ends, "adopts": adopts, "pulls": pulls, "probes": probes}[sys.argv[1]]
    try:
        async with asyncio.timeout(60):
            await scenario(world)
    except BaseException:
        print(world.status, world.events, file=sys.stderr)
        raise
    finally:
        world.stop()
        for sandbox in await world.runtime.list_pod_sandboxes():
            await world.runtime.stop_pod_sandbox(sandbox.id)
            await world.runtime.remove_pod_sandbox(sandbox.id)


if __name__ == "__main__":
    asyncio.run(main())
