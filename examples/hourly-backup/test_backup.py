"""A backup each hour: hours pass in moments."""

from pathlib import Path

import pytest

BACKUP = Path(__file__).parent / "backup.yaml"


def begun(cluster):
    """When the backups began, as hours and minutes."""
    return [backup["status"]["startTime"][11:16] for backup in cluster.list("jobs")]


@pytest.mark.keelback(nodes=1)
def test_there_is_one_backup_each_hour(cluster):
    """The cluster's clock begins at noon."""
    cluster.apply(BACKUP)
    cluster.advance(hours=3)
    assert begun(cluster) == ["12:30", "13:30", "14:30"]
    assert all(backup["status"]["succeeded"] == 1 for backup in cluster.list("jobs"))


@pytest.mark.keelback(nodes=1, job_seconds=90 * 60)
def test_a_backup_that_takes_too_long_is_not_joined_by_another(cluster):
    """That of 13:30 could begin at 14:00 only, which is too late."""
    cluster.apply(BACKUP)
    cluster.advance(hours=3)
    assert begun(cluster) == ["12:30", "14:30"]
