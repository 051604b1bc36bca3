"""The pytest plugin, as a user's project has it: fixtures, markers, settings, and the report of a failure."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]


def test_fixtures_markers_and_settings(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nkeelback_nodes = 2\nkeelback_seed = 7\nkeelback_kubernetes_version = 1.33\n")
    pytester.makepyfile(
        """
        import asyncio
        import pytest

        def test_settings(cluster):
            assert len(cluster.list("nodes")) == 2
            assert cluster.options.seed == 7
            assert str(cluster.options.kubernetes_version) == "1.33"
            cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine"}})

        def test_fresh(cluster):
            assert "mine" not in [one["metadata"]["name"] for one in cluster.list("configmaps")]

        @pytest.mark.keelback(nodes=5, kubernetes_version="1.30")
        def test_marker(cluster):
            versions = [one["status"]["nodeInfo"]["kubeletVersion"] for one in cluster.list("nodes")]
            assert versions == ["v1.30.0"] * 5

        def test_api_only(api_cluster):
            assert api_cluster.components == ("apiserver",)

        def test_session_first(session_cluster):
            session_cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept"}})

        def test_session_second(session_cluster):
            assert session_cluster.get("configmap/kept")

        @pytest.mark.keelback(real_time=True, nodes=1)
        def test_real_time(cluster):
            began = cluster.now
            cluster.wait("node/node-0", "Ready")
            assert (cluster.now - began).total_seconds() < 30

        def test_async(async_cluster):
            async def check():
                await async_cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
                await async_cluster.wait("serviceaccount/default", "exists", namespace="shop")
                await async_cluster.advance(hours=1)
                assert await async_cluster.list("pods") == []
            asyncio.run(check())
        """
    )
    pytester.runpytest_subprocess("-q", "--strict-markers").assert_outcomes(passed=8)


def test_a_failure_is_reported_with_what_happened_in_the_cluster(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def test_it(cluster):
            pod = {"nodeSelector": {"disk": "fast"}, "containers": [{"name": "c", "image": "i"}]}
            cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "picky"}, "spec": pod})
            assert cluster.get("pod/picky")["status"]["phase"] == "Running"
        """
    )
    result = pytester.runpytest_subprocess("-q")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*- keelback: cluster -*",
            "the cluster's time is 2026-05-01 12:00:00",
            "not well:",
            "  pod default/picky, Pending",
            "    PodScheduled is False (Unschedulable: 0/3 nodes are available: 3 node(s) didn't match*",
            "last events:",
            "*Warning pod/picky FailedScheduling: *",
            "last requests:",
            "*200 get /api/v1/namespaces/default/pods/picky by keelback-test",
        ]
    )


def test_a_run_without_clusters_imports_none(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_it():
            assert "keelback.testing.plugin" in sys.modules
            assert "keelback.apiserver" not in sys.modules
        """
    )
    pytester.runpytest_subprocess("-q").assert_outcomes(passed=1)
