"""A Scale as it is answered: the object, a Table with the numbers wanted and had, or its metadata alone."""

from __future__ import annotations

from typing import Any

from keelback.api import autoscaling_v1
from keelback.apimachinery import codecs, errors
from keelback.apiserver import negotiation, tables
from keelback.apiserver.context import RequestContext
from keelback.component.http import Response
from keelback.registry.custom_resource_columns import AGE as CUSTOM_AGE
from keelback.registry.strategy import AGE, Column, Strategy


class ScaleStrategy(Strategy[autoscaling_v1.Scale]):
    """Of the workloads' scales."""

    kind = autoscaling_v1.Scale
    columns = (
        Column(
            "Desired",
            lambda scale, now: scale.spec.replicas,
            "integer",
            description="replicas is the desired number of instances for the scaled object.",
        ),
        Column(
            "Available",
            lambda scale, now: scale.status.replicas,
            "integer",
            description="replicas is the actual number of observed instances of the scaled object.",
        ),
        AGE,
    )


class CustomScaleStrategy(Strategy[autoscaling_v1.Scale]):
    """Of the scales of custom resources, whose columns are described in other words."""

    kind = autoscaling_v1.Scale
    columns = (
        Column("Desired", lambda scale, now: scale.spec.replicas, "integer", description="Number of desired replicas"),
        Column(
            "Available", lambda scale, now: scale.status.replicas, "integer", description="Number of actual replicas"
        ),
        CUSTOM_AGE,
    )


def accepted(context: RequestContext) -> negotiation.Accepted:
    """The form of the answer. Raises NotAcceptable, and BadRequest for a Table that shows what there is not."""
    found = negotiation.negotiate(context.request.headers.get("accept", ""))
    if found.transform == "Table":
        tables.check_include_object(context.query.get("includeObject", ""))
    elif found.transform == "PartialObjectMetadataList":
        told = "the requested object is not a list (*autoscaling.Scale)"
        raise errors.NotAcceptable(f"you requested {found.transform}, but {told}")
    return found


def respond(
    strategy: Strategy[Any], scale: autoscaling_v1.Scale, context: RequestContext, form: negotiation.Accepted
) -> Response:
    """The answer in that form."""
    wire = codecs.encode(scale)
    if form.transform == "Table":
        version = scale.metadata.resource_version
        wire = tables.table(
            strategy,
            [wire],
            context.now,
            version=form.transform_version,
            include_object=context.query.get("includeObject", "Metadata"),
            list_meta={"resourceVersion": version} if version else {},
        )
    elif form.transform:
        wire = tables.partial_metadata(wire, form.transform_version)
    return negotiation.respond(200, wire, form, warnings=context.warnings)
