"""A pod may use as much of the node's disk as it said, and no more."""

from __future__ import annotations

import pytest

from keelback.api.core_v1 import Container, EmptyDirVolumeSource, Pod, PodSpec, ResourceRequirements, Volume
from keelback.apimachinery.meta import ObjectMeta
from keelback.kubelet.local_storage import Usage, excess, is_bounded, measure
from keelback.kubelet.observed import PodRuntime

MIB = 1 << 20


def a_pod(*, size_limit="", medium="", limit=""):
    limits = {"ephemeral-storage": limit} if limit else {}
    container = Container(name="c", resources=ResourceRequirements(limits=limits))
    volume = Volume(name="v", empty_dir=EmptyDirVolumeSource(size_limit=size_limit or None, medium=medium))
    return Pod(
        metadata=ObjectMeta(name="p", namespace="default", uid="u"),
        spec=PodSpec(containers=(container,), volumes=(volume,)),
    )


@pytest.mark.parametrize(
    ("pod", "usage", "message"),
    [
        (a_pod(size_limit="1Mi"), Usage({"v": MIB}), ""),
        (a_pod(size_limit="1Mi"), Usage({"v": MIB + 1}), 'Usage of EmptyDir volume "v" exceeds the limit "1Mi". '),
        (a_pod(size_limit="1Mi", medium="Memory"), Usage({"v": 2 * MIB}), ""),
        (a_pod(limit="2Mi"), Usage({"v": MIB}, {"c": MIB}), ""),
        (
            a_pod(limit="2Mi"),
            Usage({"v": MIB}, {"c": MIB + 1}),
            "Pod ephemeral local storage usage exceeds the total limit of containers 2Mi. ",
        ),
        (a_pod(), Usage({"v": 1 << 40}, {"c": 1 << 40}), ""),
    ],
)
def test_who_is_over_a_limit_is_told_in_upstreams_words(pod, usage, message):
    assert excess(pod, usage) == message


def test_one_containers_limit_counts_where_another_has_none():
    pod = a_pod(limit="1Mi")
    free = Container(name="free")
    pod = Pod(metadata=pod.metadata, spec=PodSpec(containers=(*pod.spec.containers, free)))
    assert "ephemeral" in excess(pod, Usage({}, {"c": 2 * MIB}))


def test_only_pods_with_limits_are_measured():
    assert not is_bounded(a_pod())
    assert not is_bounded(a_pod(size_limit="1Mi", medium="Memory"))
    assert is_bounded(a_pod(size_limit="1Mi"))
    assert is_bounded(a_pod(limit="1Mi"))


def test_what_lies_on_disk_is_measured(scenario):
    async def body(world):
        directory = world.node.volumes.pod_directory("u") / "volumes" / "kubernetes.io~empty-dir" / "v"
        directory.mkdir(parents=True)
        (directory / "file").write_bytes(b"x" * 2 * MIB)
        (directory / "again").hardlink_to(directory / "file")
        pod, node = a_pod(size_limit="1Mi"), world.node
        usage = await measure(pod, PodRuntime("u"), world.runtime, node.volumes, node.config)
        assert 2 * MIB <= usage.volumes["v"] < 2 * MIB + (1 << 16)

    scenario(body)
