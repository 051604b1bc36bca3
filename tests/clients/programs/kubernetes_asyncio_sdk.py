"""kubernetes_asyncio: writes, watches and a command over WebSocket. Arguments: a namespace and an image."""

import asyncio
import sys

from kubernetes_asyncio import client, config, utils, watch
from kubernetes_asyncio.stream import WsApiClient

NAMESPACE, IMAGE = sys.argv[1:]
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "aio", "namespace": NAMESPACE},
    "spec": {
        "terminationGracePeriodSeconds": 0,
        "containers": [
            {"name": "main", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", "sleep 1000"]}
        ],
    },
}


async def objects(core):
    await core.create_namespaced_config_map(NAMESPACE, {"metadata": {"name": "aio"}, "data": {"a": "1"}})
    merged = await core.patch_namespaced_config_map("aio", NAMESPACE, {"data": {"b": "2"}})
    assert merged.data == {"a": "1", "b": "2"}
    try:
        await core.create_namespaced_config_map(NAMESPACE, {"metadata": {"name": "aio"}})
    except client.ApiException as error:
        assert error.status == 409, error
    else:
        raise AssertionError("made twice")
    async with watch.Watch() as follower:
        async for event in follower.stream(core.list_namespaced_config_map, NAMESPACE, timeout_seconds=30):
            if event["object"].metadata.name == "aio":
                break


async def pods(api):
    core = client.CoreV1Api(api)
    await utils.create_from_dict(api, POD)
    async with watch.Watch() as follower:
        async for event in follower.stream(
            core.list_namespaced_pod, NAMESPACE, field_selector="metadata.name=aio", timeout_seconds=60
        ):
            if event["object"].status.phase == "Running":
                break
    if IMAGE.startswith("localhost/"):
        await command()
    await core.delete_namespaced_pod("aio", NAMESPACE)


async def command():
    ask = {"stdin": False, "stdout": True, "stderr": True, "tty": False}
    async with WsApiClient() as streaming:
        core = client.CoreV1Api(streaming)
        said = await core.connect_get_namespaced_pod_exec("aio", NAMESPACE, command=["echo", "hello"], **ask)
        assert said == "hello\n", said
        socket = await core.connect_get_namespaced_pod_exec(
            "aio", NAMESPACE, command=["sh", "-c", "exit 5"], _preload_content=False, **ask
        )
        async with socket as connection:
            ended = [message.data async for message in connection if message.data[0] == 3]
        assert streaming.parse_error_data(ended[0][1:]) == 5, ended


async def main():
    await config.load_kube_config()
    async with client.ApiClient() as api:
        await objects(client.CoreV1Api(api))
        await pods(api)


asyncio.run(main())
