"""A manifest that cannot run says why in the container's state and the pod's events: what `kubectl describe` shows."""

from __future__ import annotations

import pytest

from keelback.api.core_v1 import (
    ConfigMap,
    ConfigMapEnvSource,
    ConfigMapKeySelector,
    Container,
    EnvFromSource,
    EnvVar,
    EnvVarSource,
    Secret,
    SecretKeySelector,
    SecretVolumeSource,
    Volume,
    VolumeMount,
)
from keelback.apimachinery.meta import ObjectMeta
from keelback.testing.scripts import Script


def _reads(**source: object) -> Container:
    return Container(name="web", image="web:1", env=(EnvVar(name="A", value_from=EnvVarSource(**source)),))


_BAD_NAME = (
    'Failed to apply default image tag "bad image": couldn\'t parse image name "bad image": invalid reference format'
)
_HELD = (
    ConfigMap(metadata=ObjectMeta(name="settings"), data={"mode": "fast"}),
    Secret(metadata=ObjectMeta(name="keys"), data={"mode": b"x"}),
)
_CASES = [
    (
        Container(name="web", image="web:1", env_from=(EnvFromSource(config_map_ref=ConfigMapEnvSource(name="gone")),)),
        "CreateContainerConfigError",
        'configmap "gone" not found',
        [("Warning", "Failed", 'Error: configmap "gone" not found')],
    ),
    (
        _reads(config_map_key_ref=ConfigMapKeySelector(name="gone", key="k")),
        "CreateContainerConfigError",
        'configmap "gone" not found',
        [("Warning", "Failed", 'Error: configmap "gone" not found')],
    ),
    (
        _reads(config_map_key_ref=ConfigMapKeySelector(name="settings", key="k")),
        "CreateContainerConfigError",
        "couldn't find key k in ConfigMap default/settings",
        [("Warning", "Failed", "Error: couldn't find key k in ConfigMap default/settings")],
    ),
    (
        _reads(secret_key_ref=SecretKeySelector(name="gone", key="k")),
        "CreateContainerConfigError",
        'secret "gone" not found',
        [("Warning", "Failed", 'Error: secret "gone" not found')],
    ),
    (
        _reads(secret_key_ref=SecretKeySelector(name="keys", key="k")),
        "CreateContainerConfigError",
        "couldn't find key k in Secret default/keys",
        [("Warning", "Failed", "Error: couldn't find key k in Secret default/keys")],
    ),
    (
        Container(name="web", image="web:1", image_pull_policy="Never"),
        "ErrImageNeverPull",
        'Container image "web:1" is not present with pull policy of Never',
        [
            ("Warning", "ErrImageNeverPull", 'Container image "web:1" is not present with pull policy of Never'),
            ("Warning", "Failed", "Error: ErrImageNeverPull"),
        ],
    ),
    (
        Container(name="web", image="bad image"),
        "InvalidImageName",
        _BAD_NAME,
        [
            ("Warning", "InspectFailed", _BAD_NAME),
            ("Warning", "Failed", "Error: InvalidImageName"),
        ],
    ),
]


@pytest.mark.parametrize(("container", "reason", "message", "events"), _CASES)
def test_a_container_that_cannot_be_made_says_why(scenario, make_pod, container, reason, message, events):
    async def body(world):
        for one in _HELD:
            world.objects.held[type(one), one.metadata.name] = one
        world.work(make_pod(container))
        await world.until(lambda: world.waits_for(reason))
        assert world.container().state.waiting.message == message
        assert world.status.phase == "Pending"
        assert [one for one in world.events if one[0] == "Warning"][: len(events)] == events

    scenario(body)


def test_an_image_that_is_not_there_says_what_upstream_says(scenario, make_pod):
    async def body(world):
        world.work(make_pod(Container(name="web", image="missing:1")))
        await world.until(lambda: world.waits_for("ImagePullBackOff"), advance=0.5)
        why = world.container().state.waiting.message
        assert why.startswith('Back-off pulling image "missing:1": ErrImagePull: ')
        problem = why.removeprefix('Back-off pulling image "missing:1": ErrImagePull: ')
        assert world.events[:5] == [
            ("Normal", "Pulling", 'Pulling image "missing:1"'),
            ("Warning", "Failed", f'Failed to pull image "missing:1": {problem}'),
            ("Warning", "Failed", "Error: ErrImagePull"),
            ("Normal", "BackOff", 'Back-off pulling image "missing:1"'),
            ("Warning", "Failed", "Error: ImagePullBackOff"),
        ]

    scenario(body)


def test_a_command_that_cannot_be_run_says_what_the_runtime_says(scenario, make_pod):
    async def body(world):
        problem = 'exec: "nope": executable file not found in $PATH: unknown'
        world.runtime.scripts["web"] = Script(start_error=problem)
        world.work(make_pod())
        await world.until(lambda: ("Warning", "Failed", f"Error: {problem}") in world.events)
        await world.until(lambda: world.waits_for("RunContainerError") or world.waits_for("CrashLoopBackOff"))
        assert "Created" in world.reasons()
        assert "Started" not in world.reasons()

    scenario(body)


def test_a_missing_secret_holds_up_the_volume(scenario, make_pod):
    async def body(world):
        container = Container(name="web", image="web:1", volume_mounts=(VolumeMount(name="v", mount_path="/v"),))
        world.work(make_pod(container, volumes=(Volume(name="v", secret=SecretVolumeSource(secret_name="gone")),)))
        await world.until(lambda: "FailedMount" in world.reasons())
        told = ("Warning", "FailedMount", 'MountVolume.SetUp failed for volume "v" : secret "gone" not found')
        assert told in world.events

    scenario(body)
