import pytest

from keelback.api.core_v1 import Service
from keelback.apimachinery import codecs
from keelback.apimachinery.meta import replace
from keelback.registry.services import ServiceStrategy

STRATEGY = ServiceStrategy()


def service(status=None, **spec):
    tree = {"metadata": {"name": "s", "namespace": "d"}, "spec": {"ports": [{"port": 80}], **spec}}
    return STRATEGY.default(codecs.convert(Service, {**tree, "status": status or {}}))


def problems(given):
    return [f"{one.field}: {one.body}" for one in STRATEGY.validate(given)]


def test_the_address_families_follow_the_kind_of_service():
    def families(**spec):
        made = STRATEGY.prepare_for_create(service(**spec)).spec
        return made.ip_families, made.ip_family_policy

    assert families() == (("IPv4",), "SingleStack")
    assert families(clusterIP="fd00::1") == (("IPv6",), "SingleStack")
    assert families(clusterIP="None", selector={"a": "b"}) == (("IPv4",), "SingleStack")
    assert families(clusterIP="None") == (("IPv4", "IPv6"), "RequireDualStack")
    assert families(type="ExternalName", externalName="a.example") == ((), None)


def test_an_update_keeps_the_address_families():
    old = STRATEGY.prepare_for_create(service(clusterIP="None"))
    assert STRATEGY.prepare_for_update(service(clusterIP="None"), old).spec.ip_families == ("IPv4", "IPv6")


def test_only_load_balancers_have_ingress_points():
    def found(**given):
        new, old = service(**given), service(**{**given, "status": {}})
        return [f"{one.field}: {one.body}" for one in STRATEGY.validate_status_update(new, old)]

    point = {"loadBalancer": {"ingress": [{"ip": "1.2.3.4", "ipMode": "VIP"}]}}
    assert found(type="LoadBalancer", status=point) == []
    assert found(status=point) == [
        "status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'"
    ]
    wrong = {"loadBalancer": {"ingress": [{"hostname": "1.2.3.4", "ipMode": "VIP"}, {"ip": "x", "ipMode": "VIP"}]}}
    assert found(type="LoadBalancer", status=wrong) == [
        "status.loadBalancer.ingress[0].ipMode: Forbidden: may not be specified when `ip` is not set",
        'status.loadBalancer.ingress[0].hostname: Invalid value: "1.2.3.4": must be a DNS name, not an IP address',
        'status.loadBalancer.ingress[1].ip: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or '
        "2001:db8::ffff)",
    ]


def test_a_service_gets_the_defaults_of_its_type():
    plain = service().spec
    assert plain.ports[0].target_port == 80
    assert (plain.internal_traffic_policy, plain.external_traffic_policy) == ("Cluster", "")
    balanced = service(type="LoadBalancer").spec
    assert balanced.external_traffic_policy == "Cluster"
    assert balanced.allocate_load_balancer_node_ports is True
    sticky = service(sessionAffinity="ClientIP").spec
    assert sticky.session_affinity_config.client_ip.timeout_seconds == 10800


def test_an_external_name_has_no_addresses_and_no_policies():
    named = service(type="ExternalName", externalName="example.com", ports=[])
    assert named.spec.internal_traffic_policy is None
    assert problems(named) == []


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"ports": []}, "spec.ports: Required value"),
        ({"ports": [{"port": 1}, {"port": 2, "name": "b"}]}, "spec.ports[0].name: Required value"),
        (
            {"ports": [{"port": 1, "nodePort": 30000}]},
            "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
        ),
        (
            {"ports": [{"port": 0, "targetPort": 1}]},
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
        ),
        (
            {"type": "Odd"},
            'spec.type: Unsupported value: "Odd": supported values: "ClusterIP", "ExternalName", "LoadBalancer", '
            '"NodePort"',
        ),
        (
            {"type": "LoadBalancer", "clusterIP": "None"},
            "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for LoadBalancer services",
        ),
        (
            {"externalTrafficPolicy": "Local"},
            'spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services',
        ),
    ],
)
def test_what_is_wrong_with_a_service(spec, expected):
    assert problems(service(**spec)) == [expected]


def test_an_address_once_given_stays():
    old = service(clusterIP="10.0.0.1", clusterIPs=["10.0.0.1"])
    kept = STRATEGY.prepare_for_update(service(), old)
    assert (kept.spec.cluster_ip, kept.spec.cluster_ips) == ("10.0.0.1", ("10.0.0.1",))
    other = service(clusterIP="10.0.0.2", clusterIPs=["10.0.0.2"])
    assert [(one.field, one.detail) for one in STRATEGY.validate_update(other, old)] == [
        ("spec.clusterIPs[0]", "may not change once set")
    ]


def test_node_ports_stay_while_the_type_has_them():
    old = service(type="NodePort", ports=[{"port": 80, "nodePort": 30080}])
    kept = STRATEGY.prepare_for_update(service(type="NodePort"), old)
    assert kept.spec.ports[0].node_port == 30080
    plain = STRATEGY.prepare_for_update(replace(old, spec=replace(old.spec, type="ClusterIP")), old)
    assert plain.spec.ports[0].node_port == 0
    assert plain.spec.external_traffic_policy == ""


def test_the_row_of_a_service():
    balanced = service(
        {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}},
        type="LoadBalancer",
        clusterIP="10.0.0.1",
        ports=[{"port": 80, "nodePort": 30080}],
        selector={"b": "2", "a": "1"},
    )
    shown = [column.value(balanced, None) for column in STRATEGY.columns if column.name != "Age"]
    assert shown == ["LoadBalancer", "10.0.0.1", "1.2.3.4", "80:30080/TCP", "a=1,b=2"]
    assert STRATEGY.columns[2].value(service(type="LoadBalancer"), None) == "<pending>"
