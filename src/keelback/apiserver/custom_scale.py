"""`/scale` of custom resources: the number of replicas stands where the definition's JSON paths say."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Final

from keelback.api import autoscaling_v1
from keelback.api.apiextensions_v1 import CustomResourceSubresourceScale
from keelback.apimachinery import errors
from keelback.apimachinery.meta import ObjectMeta, with_metadata
from keelback.apimachinery.unstructured import Unstructured, with_content
from keelback.apiserver import bodies, options, patching, scale_answers
from keelback.apiserver.context import RequestContext
from keelback.apiserver.part_admission import ProjectedAdmission
from keelback.apiserver.resource_handler import ResourceHandler
from keelback.apiserver.resource_store import precondition_failure
from keelback.apiserver.service_addresses import internal
from keelback.component.http import AnyResponse
from keelback.registry import custom_resource_paths as paths

_UNSET: Final = -(2**31)
"""Upstream's mark of a number that the object does not have yet."""


class CustomScaleHandler:
    """The scale of one custom resource in one version."""

    def __init__(self, handler: ResourceHandler, places: CustomResourceSubresourceScale) -> None:
        self._handler = handler
        self._places = places
        self._strategy = scale_answers.CustomScaleStrategy()

    async def handle(self, context: RequestContext) -> AnyResponse:
        """Answer GET, PUT and PATCH."""
        accepted = scale_answers.accepted(context)
        store = self._handler.store
        wanted: Callable[[Any], autoscaling_v1.Scale]
        match context.info.verb:
            case "get":
                parent = await store.get(context.info.namespace, context.info.name)
                return scale_answers.respond(self._strategy, self._scale_of(parent), context, accepted)
            case "update":
                chosen = options.write_options(context, "UpdateOptions")
                sent = bodies.decode(context, self._strategy, chosen.field_validation)
                wanted = lambda old: sent  # noqa: E731 - two ways to the same wish
            case "patch":
                chosen = options.write_options(context, "PatchOptions")
                patch = patching.parse(context, self._strategy, chosen.field_validation, "scale")
                if patch.is_apply:
                    raise errors.StatusError(
                        "request to convert CR to an invalid group/version: autoscaling/v1", code=500
                    )
                wanted = lambda old: patch.apply(self._scale_of(old, _UNSET))  # noqa: E731
            case _:
                raise errors.MethodNotSupported.unrouted()

        async def change(old: Unstructured) -> Unstructured:
            scale = self._handler.addressed(wanted(old), context)
            if scale.spec.replicas == _UNSET:
                raise errors.BadRequest(f"the spec replicas field {self._quoted_path} cannot be empty")
            if context.info.verb == "update" and scale.metadata.uid not in ("", old.metadata.uid):
                key, uid = store.key(context.info.namespace, context.info.name), scale.metadata.uid
                raise precondition_failure(store.kind, context.info.name, key, "UID", uid, old.metadata.uid)
            content = paths.replaced(old.content, self._places.spec_replicas_path, scale.spec.replicas)
            version = scale.metadata.resource_version
            if context.info.verb == "patch" and version == old.metadata.resource_version:
                # A patch that names no version may be tried again.
                version = ""
            return with_metadata(with_content(old, content), resource_version=version)

        write = self._handler.write(context, subresource="scale", dry_run=chosen.dry_run)
        write = dataclasses.replace(
            write,
            admission=ProjectedAdmission(write.admission, lambda old: self._scale_of(old, _UNSET), self._with_scale),
        )
        written = await store.update(context.info.namespace, context.info.name, change, write)
        return scale_answers.respond(self._strategy, self._scale_of(written.obj), context, accepted)

    def _with_scale(self, parent: Unstructured, scale: autoscaling_v1.Scale) -> Unstructured:
        path = self._places.spec_replicas_path
        return with_content(parent, paths.replaced(parent.content, path, scale.spec.replicas))

    @property
    def _quoted_path(self) -> str:
        return f'"{self._places.spec_replicas_path}"'

    def _scale_of(self, parent: Unstructured, missing: int | None = None) -> autoscaling_v1.Scale:
        """What the paths say; a number of replicas that is nowhere is `missing`, or an internal error."""
        meta = parent.metadata
        replicas = paths.first(parent.content, self._places.spec_replicas_path)
        if replicas is paths.MISSING:
            if missing is None:
                raise internal(f"the spec replicas field {self._quoted_path} does not exist")
            replicas = missing
        observed = paths.first(parent.content, self._places.status_replicas_path)
        selector: Any = ""
        if self._places.label_selector_path:
            selector = paths.first(parent.content, self._places.label_selector_path)
        return autoscaling_v1.Scale(
            metadata=ObjectMeta(
                name=meta.name,
                namespace=meta.namespace,
                uid=meta.uid,
                resource_version=meta.resource_version,
                creation_timestamp=meta.creation_timestamp,
            ),
            spec=autoscaling_v1.ScaleSpec(replicas=replicas),
            status=autoscaling_v1.ScaleStatus(
                replicas=observed if isinstance(observed, int) else 0,
                selector=selector if isinstance(selector, str) else "",
            ),
        )
