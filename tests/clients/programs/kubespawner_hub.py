"""JupyterHub's spawner without its hub: a notebook's claim, Service and pod. Arguments: a namespace and an image."""

import asyncio
import sys
from types import SimpleNamespace

from jupyterhub.objects import Hub
from kubespawner import KubeSpawner
from traitlets.config import Config

NAMESPACE, IMAGE = sys.argv[1:]


async def main():
    server = SimpleNamespace()
    user = SimpleNamespace(
        name="jane", escaped_name="jane", id=1, url="/user/jane/", server=server, spawners={}, admin=False, groups=[]
    )
    chosen = Config()
    chosen.KubeSpawner.namespace = NAMESPACE
    chosen.KubeSpawner.image = IMAGE
    chosen.KubeSpawner.storage_pvc_ensure = True
    chosen.KubeSpawner.storage_capacity = "1Gi"
    chosen.KubeSpawner.storage_access_modes = ["ReadWriteOnce"]
    chosen.KubeSpawner.services_enabled = True
    spawner = KubeSpawner(
        hub=Hub(public_host="", base_url="/hub/", ip="127.0.0.1", port=8081),
        user=user,
        config=chosen,
        api_token="none",
        oauth_client_id="none",
        _mock=True,  # its own word for: without a hub
    )
    url = await asyncio.wait_for(spawner.start(), 60)
    assert url == f"http://jupyter-jane.{NAMESPACE}.svc.cluster.local:8888", url
    assert await spawner.poll() is None
    await spawner.stop(now=True)
    assert await spawner.poll() is not None


asyncio.run(main())
