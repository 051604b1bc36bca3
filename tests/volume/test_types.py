"""Each volume type shows what its source says, and refuses what it cannot show."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest

from keelback.api.core_v1 import (
    ConfigMap,
    ConfigMapProjection,
    ConfigMapVolumeSource,
    Container,
    DownwardAPIProjection,
    DownwardAPIVolumeFile,
    EmptyDirVolumeSource,
    HostPathVolumeSource,
    ImageVolumeSource,
    KeyToPath,
    LocalVolumeSource,
    NFSVolumeSource,
    ObjectFieldSelector,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimStatus,
    PersistentVolumeClaimVolumeSource,
    PersistentVolumeSpec,
    Pod,
    PodSecurityContext,
    PodSpec,
    ProjectedVolumeSource,
    ResourceFieldSelector,
    ResourceRequirements,
    Secret,
    SecretVolumeSource,
    ServiceAccountTokenProjection,
    Volume,
    VolumeMount,
    VolumeProjection,
)
from keelback.apimachinery.errors import NotFound
from keelback.apimachinery.meta import ObjectMeta
from keelback.testing.clock import HandClock
from keelback.volume.builtin import builtin
from keelback.volume.downward_api import DownwardError, field_value, resource_value
from keelback.volume.pod_volumes import PodVolumes, SetUpFailed
from keelback.volume.protocol import NodeFacts, VolumeError


class FakeMounter:
    def __init__(self):
        self.mounted = {}

    def tmpfs(self, path, size_bytes=0):
        self.mounted.setdefault(path, size_bytes)

    def bind(self, source, target):
        self.mounted[target] = os.readlink(source)

    def layers(self, directories, target):
        self.mounted[target] = tuple(directories)

    def unmount(self, path):
        del self.mounted[path]

    def mounted_below(self, path):
        return sorted((one for one in self.mounted if one.is_relative_to(path)), reverse=True)


class Objects:
    def __init__(self, *objects):
        self.held = {(type(one), one.metadata.name): one for one in objects}

    async def get(self, cls, name, namespace=""):
        try:
            return self.held[cls, name]
        except KeyError:
            raise NotFound.of(cls.__kind__, name) from None

    async def token(self, request):
        return f"{request.service_account}/{request.audience}/{request.expiration_seconds}"

    async def layers(self, pod, reference, pull_policy, *, is_mounted):
        assert not is_mounted or pull_policy == "Always"
        return (f"/upper/{reference}", f"/lower/{reference}")


def named(name, **fields):
    return {"metadata": ObjectMeta(name=name, namespace="default"), **fields}


class World:
    def __init__(self, root: Path, *objects):
        self.mounter = FakeMounter()
        reader = Objects(*objects)
        facts = NodeFacts(("10.0.0.1",), {"cpu": "2", "memory": "1Gi"})
        self.volumes = PodVolumes(root, builtin(reader, reader, facts, self.mounter, HandClock(), reader), self.mounter)

    def set_up(self, source, **spec) -> Path:
        self.pod = a_pod(Volume(name="v", **source), **spec)
        return asyncio.run(self.volumes.set_up(self.pod))["v"]


def a_pod(*volumes, **spec):
    container = Container(
        name="c",
        volume_mounts=tuple(VolumeMount(name=one.name, mount_path=f"/{one.name}") for one in volumes),
        resources=ResourceRequirements(limits={"cpu": "1500m"}, requests={"memory": "10Mi"}),
    )
    metadata = ObjectMeta(name="p", namespace="default", uid="u1", labels={"b": "2", "a": 'x"y'})
    return Pod(metadata=metadata, spec=PodSpec(containers=(container,), volumes=volumes, **spec))


CONFIG = ConfigMap(**named("settings", data={"mode": "fast", "more": "x"}, binary_data={"blob": b"\x00\xff"}))
SECRET = Secret(**named("keys", data={"password": b"pw"}))


def test_a_config_map_shows_all_its_keys(tmp_path):
    path = World(tmp_path, CONFIG).set_up({"config_map": ConfigMapVolumeSource(name="settings")})
    assert (path / "mode").read_text() == "fast"
    assert (path / "blob").read_bytes() == b"\x00\xff"
    assert stat.S_IMODE((path / "mode").stat().st_mode) == 0o644


def test_items_choose_keys_paths_and_modes(tmp_path):
    items = (KeyToPath(key="mode", path="etc/mode", mode=0o400),)
    path = World(tmp_path, CONFIG).set_up({"config_map": ConfigMapVolumeSource(name="settings", items=items)})
    assert (path / "etc/mode").read_text() == "fast"
    assert not (path / "more").exists()
    assert stat.S_IMODE((path / "etc/mode").stat().st_mode) == 0o400


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"config_map": ConfigMapVolumeSource(name="none")}, 'configmap "none" not found'),
        ({"secret": SecretVolumeSource(secret_name="none")}, 'secret "none" not found'),
        (
            {"config_map": ConfigMapVolumeSource(name="settings", items=(KeyToPath(key="no", path="no"),))},
            "references non-existent config key: no",
        ),
        ({"nfs": NFSVolumeSource(server="s", path="/")}, "no volume plugin matched"),
        (
            {"host_path": HostPathVolumeSource(path="/nowhere-at-all", type="Directory")},
            "hostPath type check failed: /nowhere-at-all is not a directory",
        ),
        (
            {"persistent_volume_claim": PersistentVolumeClaimVolumeSource(claim_name="none")},
            'persistentvolumeclaim "none" not found',
        ),
    ],
)
def test_what_cannot_be_set_up_says_why(tmp_path, source, message):
    with pytest.raises(SetUpFailed) as failure:
        World(tmp_path, CONFIG).set_up(source)
    assert str(failure.value) == f'MountVolume.SetUp failed for volume "v" : {message}'


def test_what_is_optional_may_be_missing(tmp_path):
    path = World(tmp_path).set_up({"secret": SecretVolumeSource(secret_name="none", optional=True)})
    assert [one.name for one in path.iterdir() if not one.name.startswith("..")] == []


def test_a_secret_is_kept_in_memory(tmp_path):
    world = World(tmp_path, SECRET)
    path = world.set_up({"secret": SecretVolumeSource(secret_name="keys")})
    assert (path / "password").read_bytes() == b"pw"
    assert path in world.mounter.mounted


def test_sources_are_projected_together(tmp_path):
    sources = (
        VolumeProjection(config_map=ConfigMapProjection(name="settings")),
        VolumeProjection(service_account_token=ServiceAccountTokenProjection(path="token", audience="api")),
        VolumeProjection(
            downward_api=DownwardAPIProjection(
                items=(
                    DownwardAPIVolumeFile(path="name", field_ref=ObjectFieldSelector(field_path="metadata.name")),
                    DownwardAPIVolumeFile(
                        path="cpu", resource_field_ref=ResourceFieldSelector(container_name="c", resource="limits.cpu")
                    ),
                )
            )
        ),
    )
    path = World(tmp_path, CONFIG).set_up({"projected": ProjectedVolumeSource(sources=sources)})
    assert (path / "mode").read_text() == "fast"
    assert (path / "token").read_text() == "default/api/3600"
    assert (path / "name").read_text() == "p"
    assert (path / "cpu").read_text() == "2"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files away")
def test_a_group_may_read_what_is_projected_and_write_what_is_empty(tmp_path):
    world = World(tmp_path, CONFIG)
    group = PodSecurityContext(fs_group=4242)
    path = world.set_up(
        {"config_map": ConfigMapVolumeSource(name="settings", default_mode=0o400)}, security_context=group
    )
    found = (path / "mode").stat()
    assert (found.st_gid, stat.S_IMODE(found.st_mode)) == (4242, 0o440)
    path = world.set_up({"empty_dir": EmptyDirVolumeSource()}, security_context=group)
    assert (path.stat().st_gid, path.stat().st_mode & stat.S_ISGID) == (4242, stat.S_ISGID)


def test_an_empty_directory_keeps_what_was_put_there(tmp_path):
    world = World(tmp_path)
    path = world.set_up({"empty_dir": EmptyDirVolumeSource()})
    assert stat.S_IMODE(path.stat().st_mode) == 0o777
    (path / "file").write_text("kept")
    path.chmod(0o700)
    assert world.set_up({"empty_dir": EmptyDirVolumeSource()}) == path
    assert (path / "file").read_text() == "kept"
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_memory_is_limited_as_asked(tmp_path):
    world = World(tmp_path)
    path = world.set_up({"empty_dir": EmptyDirVolumeSource(medium="Memory", size_limit="8Mi")})
    assert world.mounter.mounted[path] == 8 << 20


def test_a_host_path_is_made_where_its_type_says_so(tmp_path):
    wanted = tmp_path / "made"
    source = HostPathVolumeSource(path=str(wanted), type="DirectoryOrCreate")
    assert World(tmp_path / "root").set_up({"host_path": source}) == wanted
    assert wanted.is_dir()


def test_a_claim_leads_to_its_volume(tmp_path):
    claim = PersistentVolumeClaim(
        **named(
            "data",
            spec=PersistentVolumeClaimSpec(volume_name="pv"),
            status=PersistentVolumeClaimStatus(phase="Bound"),
        )
    )
    volume = PersistentVolume(
        metadata=ObjectMeta(name="pv"), spec=PersistentVolumeSpec(local=LocalVolumeSource(path=str(tmp_path)))
    )
    source = {"persistent_volume_claim": PersistentVolumeClaimVolumeSource(claim_name="data")}
    assert World(tmp_path / "root", claim, volume).set_up(source) == tmp_path


def test_an_image_is_shown_until_the_pod_is_gone(tmp_path):
    world = World(tmp_path)
    path = world.set_up({"image": ImageVolumeSource(reference="models:1", pull_policy="Always")})
    assert world.mounter.mounted[path] == ("/upper/models:1", "/lower/models:1")
    assert world.set_up({"image": ImageVolumeSource(reference="models:1", pull_policy="Always")}) == path
    asyncio.run(world.volumes.tear_down(world.pod.metadata.uid))
    assert not world.mounter.mounted


def test_tearing_down_unmounts_everything_and_leaves_host_paths_alone(tmp_path):
    world = World(tmp_path / "root", SECRET)
    world.set_up({"secret": SecretVolumeSource(secret_name="keys")})
    kept = tmp_path / "host"
    kept.mkdir()
    (kept / "file").write_text("kept")
    world.set_up({"host_path": HostPathVolumeSource(path=str(kept))})
    asyncio.run(world.volumes.tear_down("u1"))
    assert world.mounter.mounted == {}
    assert not world.volumes.pod_directory("u1").exists()
    assert (kept / "file").read_text() == "kept"
    asyncio.run(world.volumes.tear_down("u1"))


def test_a_sub_path_is_bound_and_made_where_it_is_missing(tmp_path):
    world = World(tmp_path)
    path = world.set_up({"empty_dir": EmptyDirVolumeSource()})
    target = world.volumes.sub_path(world.pod, "v", path, "a/b", "c", 0)
    assert world.mounter.mounted[target] == str(path / "a/b")
    assert (path / "a/b").is_dir()


@pytest.mark.parametrize("sub_path", ["../x", "/etc", "link", "link/passwd"])
def test_a_sub_path_cannot_lead_out_of_its_volume(tmp_path, sub_path):
    world = World(tmp_path)
    path = world.set_up({"empty_dir": EmptyDirVolumeSource()})
    (path / "link").symlink_to("/etc")
    with pytest.raises(VolumeError):
        world.volumes.sub_path(world.pod, "v", path, sub_path, "c", 0)
    assert world.mounter.mounted == {}


def test_fields_are_told_as_upstream_writes_them():
    pod = a_pod()
    assert field_value("metadata.labels", pod) == 'a="x\\"y"\nb="2"'
    assert field_value("metadata.labels['b']", pod) == "2"
    assert field_value("metadata.annotations['none']", pod) == ""
    with pytest.raises(DownwardError):
        field_value("spec.hostname", pod)


@pytest.mark.parametrize(
    ("resource", "divisor", "expected"),
    [
        ("limits.cpu", "0", "2"),
        ("limits.cpu", "1m", "1500"),
        ("requests.memory", "1Mi", "10"),
        ("limits.memory", "1Mi", "1024"),
        ("requests.cpu", "1m", "0"),
    ],
)
def test_resources_are_told_in_units_of_the_divisor(resource, divisor, expected):
    resources = a_pod().spec.containers[0].resources
    assert resource_value(resource, divisor, resources, {"memory": "1Gi"}) == expected
