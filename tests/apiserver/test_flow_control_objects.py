"""The FlowSchemas and PriorityLevelConfigurations of every cluster: there, kept, and true about one another."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

from keelback.api.flowcontrol_v1 import FlowSchema, FlowSchemaSpec, PriorityLevelConfiguration
from keelback.apimachinery.meta import ObjectMeta, replace, with_metadata
from keelback.apiserver import flow_schemas
from keelback.component.http import Request, Response
from keelback.registry import bootstrap_flow_control
from keelback.testing.api import ADMINISTRATOR, api_server

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_new_cluster_has_them_and_nothing_is_left_to_do() -> None:
    async def main() -> None:
        async with asyncio.timeout(30), api_server() as api:
            client = api.client(ADMINISTRATOR)
            schemas = (await client.list(FlowSchema)).items
            levels = (await client.list(PriorityLevelConfiguration)).items
            assert sorted(
                (one.spec.matching_precedence, one.metadata.name, one.spec.priority_level_configuration.name)
                for one in schemas
            ) == [
                (1, "exempt", "exempt"),
                (2, "probes", "exempt"),
                (100, "system-leader-election", "leader-election"),
                (150, "endpoint-controller", "workload-high"),
                (200, "workload-leader-election", "leader-election"),
                (400, "system-node-high", "node-high"),
                (500, "system-nodes", "system"),
                (800, "kube-controller-manager", "workload-high"),
                (800, "kube-scheduler", "workload-high"),
                (900, "kube-system-service-accounts", "workload-high"),
                (9000, "service-accounts", "workload-low"),
                (9900, "global-default", "global-default"),
                (10000, "catch-all", "catch-all"),
            ]
            assert {one.metadata.annotations["apf.kubernetes.io/autoupdate-spec"] for one in (*schemas, *levels)} == {
                "true"
            }
            planned = bootstrap_flow_control.plan(schemas, levels)
            assert planned == bootstrap_flow_control.Planned((), ())
            waiting = {one.metadata.name for one in schemas if not one.status.conditions}
            events = client.watch(FlowSchema, resource_version=schemas[0].metadata.resource_version)
            while waiting:
                event = await anext(events)
                if event.object.status.conditions:
                    waiting.discard(event.object.metadata.name)
            await events.aclose()
            exempt = await client.get(FlowSchema, "exempt")
            assert exempt.status.conditions[0].message == (
                'This FlowSchema references the PriorityLevelConfiguration object named "exempt" and it exists'
            )

    asyncio.run(main())


def test_what_somebody_took_over_stays_and_what_is_mandatory_does_not() -> None:
    made = bootstrap_flow_control.plan((), ()).create
    schemas = {one.metadata.name: one for one in made if isinstance(one, FlowSchema)}
    levels = [one for one in made if isinstance(one, PriorityLevelConfiguration)]

    def changed(name: str, annotation: str) -> FlowSchema:
        spec = replace(schemas[name].spec, matching_precedence=77)
        annotations = {bootstrap_flow_control.AUTO_UPDATE: annotation}
        return with_metadata(replace(schemas[name], spec=spec), annotations=annotations)

    edited = {**schemas, "probes": changed("probes", "false"), "kube-scheduler": changed("kube-scheduler", "true")}
    edited["catch-all"] = changed("catch-all", "false")
    planned = bootstrap_flow_control.plan(edited.values(), levels)
    assert not planned.create
    assert {one.metadata.name for one in planned.update} == {"kube-scheduler", "catch-all"}


def test_a_schema_without_its_level_dangles() -> None:
    schema = FlowSchema(metadata=ObjectMeta(name="a"), spec=FlowSchemaSpec())
    (said,) = flow_schemas.plan([schema], ["other"], NOW)
    condition = said.status.conditions[0]
    assert (condition.type, condition.status, condition.reason) == ("Dangling", "True", "NotFound")
    assert list(flow_schemas.plan([said], ["other"], NOW)) == []
    (found,) = flow_schemas.plan([said], ["other", ""], NOW)
    assert found.status.conditions[0].status == "False"


def test_a_table_of_schemas_is_in_the_order_in_which_they_are_tried() -> None:
    async def main() -> None:
        async with asyncio.timeout(30), api_server() as api:
            path = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas"
            headers = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
            answer = await api.handle(Request("GET", path, "", headers, identity=ADMINISTRATOR))
            assert isinstance(answer, Response)
            rows = [row["cells"] for row in json.loads(answer.content())["rows"]]
            assert [row[0] for row in rows[:3]] == ["exempt", "probes", "system-leader-election"]
            precedences = [(row[2], row[0]) for row in rows]
            assert precedences == sorted(precedences)

    asyncio.run(main())
