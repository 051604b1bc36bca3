"""ComponentStatuses are answered from what is known at the moment, and warn of their age."""

from __future__ import annotations

import asyncio
import json

from keelback.api.coordination_v1 import Lease, LeaseSpec
from keelback.apimachinery.meta import ObjectMeta
from keelback.auth.users import UserInfo
from keelback.component.http import Request, Response
from keelback.concurrency.clock import SystemClock
from keelback.reconcile.leader_election import micro_time
from keelback.testing.api import ADMINISTRATOR, api_server

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PATH = "/api/v1/componentstatuses"


def test_a_component_is_healthy_while_its_leader_renews_its_lease() -> None:
    async def main() -> None:
        async with asyncio.timeout(30), api_server() as api:
            spec = LeaseSpec(
                holder_identity="one", lease_duration_seconds=15, renew_time=micro_time(SystemClock().now())
            )
            meta = ObjectMeta(name="kube-scheduler", namespace="kube-system")
            await api.client(ADMINISTRATOR).create(Lease(metadata=meta, spec=spec))

            async def read(path: str, accept: str = "*/*") -> tuple[int, dict[str, object], str]:
                answer = await api.handle(Request("GET", path, headers={"accept": accept}, identity=ADMINISTRATOR))
                assert isinstance(answer, Response)
                return (
                    answer.status,
                    json.loads(b"".join([answer.body] if isinstance(answer.body, bytes) else answer.body)),
                    answer.headers["warning"],
                )

            status, table, warning = await read(PATH, TABLE)
            assert status == 200
            assert warning == '299 - "v1 ComponentStatus is deprecated in v1.19+"'
            assert [row["cells"] for row in table["rows"]] == [  # type: ignore[attr-defined]
                ["controller-manager", "Unhealthy", "", "nobody leads"],
                ["scheduler", "Healthy", "ok", ""],
                ["etcd-0", "Healthy", "ok", ""],
            ]
            _, one, _ = await read(f"{PATH}/etcd-0")
            assert one["conditions"] == [{"type": "Healthy", "status": "True", "message": "ok"}]
            assert (await read(f"{PATH}/nothing"))[0] == 404
            api.client(UserInfo("system:kube-controller-manager"))
            _, one, _ = await read(f"{PATH}/controller-manager")
            assert one["conditions"] == [{"type": "Healthy", "status": "True", "message": "ok"}]
            _, selected, _ = await read(PATH)
            assert selected["kind"] == "ComponentStatusList"

    asyncio.run(main())
