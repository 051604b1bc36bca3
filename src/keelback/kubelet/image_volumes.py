"""Images for volumes: pulled by policy as containers' images are, and kept while a pod shows them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from keelback.api.core_v1 import Pod, Secret
from keelback.cri.runtime import ContainerRuntime, ContainerRuntimeError
from keelback.cri.values import ImageSpec
from keelback.kubelet.images import ImageProblem, Images, with_default_tag
from keelback.kubelet.services import Recorder
from keelback.volume.protocol import VolumeError


@dataclass(frozen=True, slots=True)
class ImageVolumes:
    """What volumes ask of the node's images."""

    images: Images
    runtime: ContainerRuntime
    recorder: Recorder
    secrets: Callable[[Pod], Awaitable[list[Secret]]]

    async def layers(self, pod: Pod, reference: str, pull_policy: str, *, is_mounted: bool) -> Sequence[str]:
        """The directories of the image's layers, topmost first. Raises VolumeError."""

        async def report(kind: str, reason: str, message: str) -> None:
            self.recorder.event(pod, kind, reason, message)

        uid = pod.metadata.uid
        try:
            found = await self.runtime.image_status(ImageSpec(with_default_tag(reference))) if is_mounted else None
            if found is not None:
                self.images.hold(uid, found.id)
                return ()
            image = await self.images.ensure(uid, reference, pull_policy, await self.secrets(pod), report)
            self.images.hold(uid, image.id)
            return await self.runtime.image_layers(image.id)
        except ImageProblem as error:
            raise VolumeError(f"{error.reason}: {error.message}") from error
        except ContainerRuntimeError as error:
            raise VolumeError(str(error)) from error
