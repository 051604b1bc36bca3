"""What a server counts of requests, under the names and labels that dashboards ask for."""

from __future__ import annotations

import asyncio
import json
import ssl
import tempfile
from collections.abc import Sequence
from pathlib import Path

from keelback.apiserver.request_limits import RequestLimits
from keelback.auth.certificates import CertificateAuthenticator
from keelback.bootstrap import pki
from keelback.component import process_metrics
from keelback.component.http import Request, Response, StreamingResponse
from keelback.component.metrics import Registry
from keelback.testing.api import ADMINISTRATOR, api_server
from keelback.testing.clock import HandClock

MAPS = "/api/v1/namespaces/default/configmaps"
SECRETS = "/api/v1/namespaces/default/secrets"
ONE = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "one"}}
LABELS = 'dry_run="",group="",version="v1",resource="configmaps",subresource=""'


async def lines(*requests: tuple[str, str, str]) -> Sequence[str]:
    """The metrics after these requests, of which watches go on."""
    async with asyncio.timeout(30), api_server() as server, asyncio.TaskGroup() as group:
        watches = []
        for method, target, content_type in requests:
            path, _, query = target.partition("?")
            body = json.dumps(ONE).encode() if method in ("POST", "PUT", "PATCH") else b""
            headers = {"content-type": content_type}
            answer = await server.handle(Request(method, path, query, headers, body, identity=ADMINISTRATOR))
            if isinstance(answer, StreamingResponse):
                watches.append(group.create_task(serve(answer)))
        for _ in range(20):
            await asyncio.sleep(0)
        answer = await server.handle(Request("GET", "/metrics", identity=ADMINISTRATOR))
        assert isinstance(answer, Response)
        for watch in watches:
            watch.cancel()
        return answer.content().decode().splitlines()


async def serve(answer: StreamingResponse) -> None:
    await answer.serve(Patient())


class Patient:
    """Takes whatever comes."""

    closed = False

    def write(self, data: bytes) -> None:
        pass

    async def drain(self) -> None:
        pass

    async def wait_closed(self) -> None:
        await asyncio.Event().wait()


def value(found: Sequence[str], name: str) -> float:
    return next((float(line.rpartition(" ")[2]) for line in found if line.startswith(name + " ")), 0.0)


def test_requests_are_told_apart_by_upstream_s_verbs_and_scopes() -> None:
    found = asyncio.run(
        lines(
            ("POST", MAPS, "application/json"),
            ("POST", f"{MAPS}?dryRun=All", "application/json"),
            ("GET", f"{MAPS}/one", ""),
            ("GET", f"{MAPS}/none", ""),
            ("GET", MAPS, ""),
            ("GET", "/api/v1/configmaps", ""),
            ("PATCH", f"{MAPS}/one?fieldManager=me", "application/apply-patch+yaml"),
            ("PATCH", f"{MAPS}/one", "application/merge-patch+json"),
            ("DELETE", MAPS, ""),
            ("GET", "/api/v1/namespaces/default/inventions", ""),
            ("GET", "/readyz", ""),
        )
    )

    def count(verb: str, scope: str, code: int, labels: str = LABELS) -> float:
        return value(
            found,
            f'apiserver_request_total{{verb="{verb}",{labels},scope="{scope}",component="apiserver",code="{code}"}}',
        )

    assert count("POST", "resource", 201) >= 1, "the server has made some of its own"
    assert count("POST", "resource", 409, LABELS.replace('dry_run=""', 'dry_run="All"')) == 1
    assert count("GET", "resource", 200) == 1
    assert count("GET", "resource", 404) >= 1
    assert count("LIST", "namespace", 200) == 1
    assert count("LIST", "cluster", 200) == 1
    assert count("APPLY", "resource", 200) == 1
    assert count("PATCH", "resource", 200) == 1
    assert count("DELETE", "namespace", 200) == 1
    assert not [line for line in found if "inventions" in line], "clients can invent any number of resources"
    labels = (
        'verb="GET",group="",version="v1",resource="configmaps",subresource="",scope="resource",component="apiserver"'
    )
    assert value(found, f"apiserver_response_sizes_count{{{labels}}}") >= 2
    assert value(found, f"apiserver_request_sli_duration_seconds_count{{{labels}}}") >= 2
    assert value(found, 'apiserver_current_inflight_requests{request_kind="readOnly"}') == 1
    assert value(found, 'apiserver_resource_objects{group="",resource="namespaces"}') >= 4
    assert value(found, 'apiserver_storage_objects{resource="flowschemas.flowcontrol.apiserver.k8s.io"}') >= 10
    assert value(found, 'authorization_attempts_total{result="allowed"}') > 10
    assert [line for line in found if line.startswith("kubernetes_build_info{") and 'minor="36"' in line]


def test_watches_are_counted_while_they_last() -> None:
    found = asyncio.run(lines(("GET", f"{MAPS}?watch=true", ""), ("GET", f"{MAPS}?watch=true", "")))
    labels = 'verb="WATCH",group="",version="v1",resource="configmaps",subresource="",scope="namespace"'
    assert value(found, f'apiserver_longrunning_requests{{{labels},component="apiserver"}}') == 2
    assert value(found, 'apiserver_registered_watchers{group="",version="v1",kind="ConfigMap"}') == 2
    assert not [line for line in found if 'duration_seconds_count{verb="WATCH"' in line]


def test_all_lines_are_what_prometheus_reads() -> None:
    for line in asyncio.run(lines(("GET", MAPS, ""))):
        if line.startswith("#"):
            assert line.split(" ")[1] in ("HELP", "TYPE")
            continue
        name, _, number = line.rpartition(" ")
        float(number)
        assert name.endswith("}") or "{" not in name


def test_a_process_tells_what_it_uses() -> None:
    metrics = Registry()
    process_metrics.add(metrics)
    found = metrics.exposition().decode().splitlines()
    assert value(found, "process_cpu_seconds_total") > 0
    assert value(found, "process_resident_memory_bytes") > 1e6
    assert value(found, "process_virtual_memory_bytes") > value(found, "process_resident_memory_bytes")
    assert value(found, "process_open_fds") >= 3
    assert value(found, "process_max_fds") > value(found, "process_open_fds")
    assert value(found, "process_start_time_seconds") > 1.6e9


def test_what_keeps_requests_waiting_is_told() -> None:
    found = asyncio.run(
        lines(
            ("POST", MAPS, "application/json"),
            ("PATCH", f"{MAPS}/one?fieldManager=me", "application/apply-patch+yaml"),
            ("DELETE", MAPS, ""),
        )
    )
    of_maps = 'group="",resource="configmaps"'
    for operation in ("list", "create", "delete"):
        labels = f'{{operation="{operation}",{of_maps}}}'
        counted = value(found, f"etcd_requests_total{labels}")
        assert counted >= 1
        assert value(found, f"etcd_request_duration_seconds_count{labels}") == counted
    services = 'etcd_requests_total{operation="list",group="",resource="services"}'
    assert value(found, services) == 1, "what is kept elsewhere than its name says"
    assert not [line for line in found if line.startswith("etcd_request_errors_total{")]
    assert value(found, 'apiserver_storage_size_bytes{storage_cluster_id="etcd-0"}') == 0
    phase = 'type="validate",operation="CREATE",rejected="false"'
    assert value(found, f"apiserver_admission_step_admission_duration_seconds_count{{{phase}}}") >= 1
    plugin = f'name="ValidatingAdmissionWebhook",{phase}'
    assert value(found, f"apiserver_admission_controller_admission_duration_seconds_count{{{plugin}}}") >= 1
    assert value(found, 'authorization_duration_seconds_count{result="allowed"}') >= 3


def test_changes_and_the_events_made_of_them_are_counted() -> None:
    found = asyncio.run(
        lines(("GET", f"{MAPS}?watch=true", ""), ("GET", f"{MAPS}?watch=true", ""), ("POST", MAPS, "application/json"))
    )
    kind = 'group="",version="v1",resource="configmaps"'
    of_maps = 'group="",resource="configmaps"'
    assert value(found, f"apiserver_watch_events_total{{{kind}}}") == 2
    assert value(found, f'apiserver_watch_events_sizes_bucket{{{kind},le="1024"}}') == 2
    received = value(found, f"apiserver_storage_events_received_total{{{of_maps}}}")
    assert received >= 1
    assert value(found, f"apiserver_watch_cache_events_received_total{{{of_maps}}}") == received
    assert value(found, f"apiserver_watch_cache_resource_version{{{of_maps}}}") > 1


def test_who_asks_for_what_will_be_removed_is_seen() -> None:
    found = asyncio.run(lines(("GET", "/api/v1/componentstatuses", ""), ("GET", MAPS, "")))
    labels = 'group="",version="v1",resource="componentstatuses",subresource="",removed_release=""'
    assert value(found, f"apiserver_requested_deprecated_apis{{{labels}}}") == 1
    assert not [line for line in found if line.startswith("apiserver_requested_deprecated_apis") and "configm" in line]


def test_certificates_are_counted_by_what_is_left_of_them() -> None:
    clock = HandClock()
    with tempfile.TemporaryDirectory() as folder:
        keys = pki.ensure_cluster_pki(Path(folder), clock.now())
        metrics = Registry()
        authenticator = CertificateAuthenticator(keys.ca.certificate_pem, clock, metrics)
        der = ssl.PEM_cert_to_DER_cert(keys.apiserver_kubelet_client.certificate_pem.decode())
        asyncio.run(authenticator.authenticate(Request("GET", "/", peer_certificate=der)))
        found = metrics.exposition().decode().splitlines()
    name = "apiserver_client_certificate_expiration_seconds"
    assert value(found, f"{name}_count") == 1
    assert value(found, f'{name}_bucket{{le="15552000"}}') == 0, "a year is left of it"


def test_a_request_that_took_too_long_is_one_that_was_given_up() -> None:
    async def ask() -> Sequence[str]:
        async with api_server(request_limits=RequestLimits(enable_priority_and_fairness=False)) as server:
            held = await server.handle(Request("GET", f"{MAPS}/one", identity=ADMINISTRATOR))
            assert held.status == 404
            waits = Request("GET", MAPS, "resourceVersion=100000&timeout=10ms", identity=ADMINISTRATOR)
            late = await server.handle(waits)
            assert late.status == 504
            answer = await server.handle(Request("GET", "/metrics", identity=ADMINISTRATOR))
            assert isinstance(answer, Response)
            return answer.content().decode().splitlines()

    name = "apiserver_request_terminations_total"
    assert len([line for line in asyncio.run(ask()) if line.startswith(name + "{")]) == 1


def test_methods_that_clients_think_of_are_one() -> None:
    asked = [(method, path, "") for method in ("BREW", "get") for path in ("/healthz", f"{MAPS}/one", "/apis/a/v1/bs")]
    found = [one for one in asyncio.run(lines(*asked)) if one.startswith("apiserver_request_total{") and "other" in one]
    assert [one.rpartition(" ")[2] for one in found] == ["2", "2", "2"]
    assert not any("BREW" in one for one in asyncio.run(lines(*asked)))


def test_what_is_sent_and_by_whom() -> None:
    async def main() -> str:
        async with asyncio.timeout(30), api_server() as server:
            for name, token in (("one", "admin-token"), ("two", "admin-token"), ("three", "user-token")):
                tree = {"metadata": {"name": name}, "stringData": {"a": "b" * 60_000}}
                headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
                await server.handle(Request("POST", SECRETS, "", headers, json.dumps(tree).encode()))
            listing = Request("GET", MAPS, identity=ADMINISTRATOR)
            for _ in range(3):
                await server.handle(listing)
            answer = await server.handle(Request("GET", "/metrics", identity=ADMINISTRATOR))
            assert isinstance(answer, Response)
            return answer.content().decode()

    told = asyncio.run(main()).splitlines()
    sent = 'apiserver_request_body_size_bytes_bucket{resource="secrets",verb="create",le='
    assert f'{sent}"50000"}} 0' in told
    assert f'{sent}"150000"}} 3' in told
    assert 'authenticated_user_requests{username="admin"} 2' in told
    assert 'authenticated_user_requests{username="other"} 1' in told
    read = 'apiserver_watch_cache_consistent_read_total{group="",resource="configmaps",success="true",fallback="false"}'
    assert any(one.startswith(read) and float(one.rpartition(" ")[2]) >= 3 for one in told)
    assert 'apiserver_watch_cache_initializations_total{group="",resource="configmaps"} 1' in told
