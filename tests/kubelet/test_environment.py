"""Variables: their sources, their precedence, and what $(NAME) becomes."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelback.api.core_v1 import (
    ConfigMap,
    ConfigMapEnvSource,
    ConfigMapKeySelector,
    Container,
    EnvFromSource,
    EnvVar,
    EnvVarSource,
    ObjectFieldSelector,
    Pod,
    PodSpec,
    Secret,
    SecretKeySelector,
    Service,
    ServicePort,
    ServiceSpec,
)
from keelback.apimachinery.errors import NotFound
from keelback.apimachinery.meta import ObjectMeta
from keelback.kubelet.environment import ConfigError, Surroundings, environment, service_variables
from keelback.kubelet.expansion import UnknownVariable, expand, expand_strictly


class Objects:
    async def config_map(self, namespace, name):
        if name != "settings":
            raise NotFound.of(ConfigMap.__kind__, name)
        return ConfigMap(data={"MODE": "fast", "LEVEL": "3"})

    async def secret(self, namespace, name):
        return Secret(data={"password": b"pw"})


def variables(*env, env_from=(), surroundings=None):
    container = Container(name="c", env=env, env_from=env_from)
    pod = Pod(metadata=ObjectMeta(name="p", namespace="default"), spec=PodSpec(containers=(container,)))
    return asyncio.run(environment(container, pod, Objects(), surroundings or Surroundings()))


def a_service(name, namespace="default", ip="10.96.0.7", port_name=""):
    port = ServicePort(port=80, name=port_name)
    return Service(metadata=ObjectMeta(name=name, namespace=namespace), spec=ServiceSpec(cluster_ip=ip, ports=(port,)))


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(A)-$(B)", "1-2"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(NONE)", "$(NONE)"),
        ("$A $( A)", "$A $( A)"),
        ("100%$", "100%$"),
    ],
)
def test_references_become_values(text, expanded):
    assert expand(text, {"A": "1", "B": "2"}) == expanded


@given(st.text(alphabet="ab(){}%", max_size=40))
def test_a_text_without_dollars_stays_as_it_is(text):
    assert expand(text, {"a": "x"}) == text


def test_a_path_must_not_name_what_is_not_set():
    with pytest.raises(UnknownVariable):
        expand_strictly("x/$(NONE)", {})


def test_later_variables_may_name_earlier_ones():
    assert variables(EnvVar(name="A", value="1"), EnvVar(name="B", value="$(A)2"))["B"] == "12"


def test_what_a_container_names_beats_what_it_imports():
    source = EnvFromSource(prefix="APP_", config_map_ref=ConfigMapEnvSource(name="settings"))
    found = variables(EnvVar(name="APP_MODE", value="slow"), env_from=(source,))
    assert (found["APP_MODE"], found["APP_LEVEL"]) == ("slow", "3")


def test_references_lead_to_fields_and_keys():
    found = variables(
        EnvVar(name="IP", value_from=EnvVarSource(field_ref=ObjectFieldSelector(field_path="status.podIP"))),
        EnvVar(name="PW", value_from=EnvVarSource(secret_key_ref=SecretKeySelector(name="s", key="password"))),
        surroundings=Surroundings(pod_ips=("10.0.0.2", "fd00::2")),
    )
    assert (found["IP"], found["PW"]) == ("10.0.0.2", "pw")


@pytest.mark.parametrize(
    ("name", "key", "message"),
    [
        ("none", "k", 'configmap "none" not found'),
        ("settings", "k", "couldn't find key k in ConfigMap default/settings"),
    ],
)
def test_a_missing_key_is_an_error_unless_it_is_optional(name, key, message):
    selector = ConfigMapKeySelector(name=name, key=key)
    with pytest.raises(ConfigError) as failure:
        variables(EnvVar(name="X", value_from=EnvVarSource(config_map_key_ref=selector)))
    assert str(failure.value) == message
    optional = ConfigMapKeySelector(name=name, key=key, optional=True)
    assert "X" not in variables(EnvVar(name="X", value_from=EnvVarSource(config_map_key_ref=optional)))


def test_services_are_told_as_docker_links():
    services = [a_service("my-web", port_name="http"), a_service("headless", ip="None"), a_service("far", "other")]
    assert service_variables("default", services, links=True) == {
        "MY_WEB_SERVICE_HOST": "10.96.0.7",
        "MY_WEB_SERVICE_PORT": "80",
        "MY_WEB_SERVICE_PORT_HTTP": "80",
        "MY_WEB_PORT": "tcp://10.96.0.7:80",
        "MY_WEB_PORT_80_TCP": "tcp://10.96.0.7:80",
        "MY_WEB_PORT_80_TCP_PROTO": "tcp",
        "MY_WEB_PORT_80_TCP_PORT": "80",
        "MY_WEB_PORT_80_TCP_ADDR": "10.96.0.7",
    }


def test_only_the_api_server_is_told_where_links_are_not_wanted():
    services = [a_service("web"), a_service("kubernetes", ip="10.96.0.1")]
    assert {name.split("_")[0] for name in service_variables("default", services, links=False)} == {"KUBERNETES"}
