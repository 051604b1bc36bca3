"""Who has just been given a right is not refused."""

from __future__ import annotations

import asyncio

import pytest

from keelback.api.core_v1 import ConfigMap
from keelback.api.rbac_v1 import ClusterRole, ClusterRoleBinding, PolicyRule, RoleRef, Subject
from keelback.apimachinery import errors
from keelback.apimachinery.meta import ObjectMeta
from keelback.auth.users import UserInfo
from keelback.testing.api import ADMINISTRATOR, api_server

RULE = PolicyRule(verbs=("get",), api_groups=("",), resources=("configmaps",))
RBAC = "rbac.authorization.k8s.io"


def test_a_right_counts_as_soon_as_it_has_been_given() -> None:
    async def body() -> None:
        async with api_server() as api:
            administrator = api.client(ADMINISTRATOR, "test")
            await administrator.create(ConfigMap(metadata=ObjectMeta(name="c", namespace="default")))
            for name in map(str, range(20)):
                user = api.client(UserInfo(name), "test")
                with pytest.raises(errors.Forbidden):
                    await user.get(ConfigMap, "c", "default")
                await administrator.create(ClusterRole(metadata=ObjectMeta(name=name), rules=(RULE,)))
                binding = ClusterRoleBinding(
                    metadata=ObjectMeta(name=name),
                    role_ref=RoleRef(api_group=RBAC, kind="ClusterRole", name=name),
                    subjects=(Subject(api_group=RBAC, kind="User", name=name),),
                )
                await administrator.create(binding)
                assert (await user.get(ConfigMap, "c", "default")).metadata.name == "c"

    asyncio.run(asyncio.wait_for(body(), 30))
