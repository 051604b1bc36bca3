from __future__ import annotations

import asyncio
from pathlib import Path

from keelback.apimachinery.configuration_files import ConfigurationError
from keelback.auth.configuration_reload import ConfigurationReload, ReloadMetrics
from keelback.component.metrics import Registry
from keelback.testing.clock import HandClock


def test_a_file_takes_effect_once_with_every_change(tmp_path: Path) -> None:
    """Also where it is swapped by a link, as a mounted ConfigMap is, and where it is gone for a while."""
    applied: list[str] = []

    async def apply(text: str) -> None:
        if text == "wrong":
            raise ConfigurationError("it is wrong")
        if text == "odd":
            raise KeyError("nobody thought of this")
        applied.append(text)

    async def main() -> None:
        clock = HandClock()
        metrics = ReloadMetrics(Registry(), "authorization", clock)
        path = tmp_path / "file"
        path.write_text("1")
        reload = ConfigurationReload(path, "1", apply, clock, metrics)

        async def looked(*expected: str) -> None:
            await reload.look()
            await reload.look()
            assert applied == list(expected)

        await looked()
        path.write_text("2")
        await looked("2")
        for text in ("wrong", "odd"):
            path.write_text(text)
            await looked("2")
        path.unlink()
        await looked("2")
        (tmp_path / "target").write_text("3")
        path.symlink_to(tmp_path / "target")
        await looked("2", "3")
        (tmp_path / "other").write_text("4")
        (tmp_path / "link").symlink_to(tmp_path / "other")
        (tmp_path / "link").rename(path)
        await looked("2", "3", "4")
        assert metrics.count("success") == 3
        assert metrics.count("failure") == 3

    asyncio.run(main())
