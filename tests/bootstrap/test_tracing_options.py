"""The flag about tracing: what is wrong with its file is said at the start."""

from __future__ import annotations

from pathlib import Path

import pytest

from keelback.bootstrap import components
from keelback.bootstrap.cluster_state import ClusterError
from keelback.bootstrap.components import APIServerOptions


def test_without_a_file_nothing_is_traced_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    plain: APIServerOptions = components.parse("kube-apiserver", ())
    assert plain.tracing() is None
    path = tmp_path / "tracing.yaml"
    path.write_text("apiVersion: v1\nkind: Pod\n")
    wrong: APIServerOptions = components.parse("kube-apiserver", (f"tracing-config-file={path}",))
    with pytest.raises(ClusterError, match=r"is not apiserver\.config.k8s\.io/v1 TracingConfiguration"):
        wrong.tracing()
