"""kubernetes_asyncio's dynamic client, a watch from a version, and its leader election. Argument: a namespace."""

import asyncio
import sys

from kubernetes_asyncio import client, config, dynamic, watch
from kubernetes_asyncio.leaderelection import electionconfig, leaderelection
from kubernetes_asyncio.leaderelection.resourcelock import leaselock

NAMESPACE = sys.argv[1]
BODY = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "dynamic"}, "data": {"a": "1"}}


async def objects(api):
    finder = await dynamic.DynamicClient(api)
    maps = await finder.resources.get(api_version="v1", kind="ConfigMap")
    version = (await maps.get(namespace=NAMESPACE)).metadata.resourceVersion
    where = {"name": "dynamic", "namespace": NAMESPACE}
    assert (await maps.server_side_apply(body=BODY, field_manager="dynamic", **where)).data.to_dict() == {"a": "1"}
    patched = await maps.patch(body={"data": {"b": "2"}}, content_type="application/merge-patch+json", **where)
    assert patched.data.to_dict() == {"a": "1", "b": "2"}
    await maps.delete(**where)
    seen = []
    core = client.CoreV1Api(api)
    ask = {"resource_version": version, "field_selector": "metadata.name=dynamic", "timeout_seconds": 30}
    async with watch.Watch().stream(core.list_namespaced_config_map, NAMESPACE, **ask) as events:
        async for event in events:
            seen.append(event["type"])
            if event["type"] == "DELETED":
                break
    assert seen == ["ADDED", "MODIFIED", "DELETED"]


async def election(api):
    leading = asyncio.Event()

    async def lead():
        leading.set()

    async def follow():
        raise AssertionError("nobody else wants to lead")

    chosen = electionconfig.Config(
        leaselock.LeaseLock("dynamic", NAMESPACE, "me", api),
        lease_duration=4,
        renew_deadline=3,
        retry_period=1.5,
        onstarted_leading=lead,
        onstopped_leading=follow,
    )
    candidate = asyncio.create_task(leaderelection.LeaderElection(chosen).run())
    await asyncio.wait_for(leading.wait(), 30)
    candidate.cancel()
    lease = await client.CoordinationV1Api(api).read_namespaced_lease("dynamic", NAMESPACE)
    assert lease.spec.holder_identity == "me"


async def main():
    await config.load_kube_config()
    async with client.ApiClient() as api:
        await objects(api)
        await election(api)


asyncio.run(main())
