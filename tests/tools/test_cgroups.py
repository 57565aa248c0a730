"""Control groups that runs left behind are found wherever an engine put them."""

import os
import secrets
import subprocess
import sys
import time

import pytest

from tools import reaper
from tools.sandbox import cgroups


@pytest.fixture
def group():
    """A group in the last hierarchy alone: on v1 that is none of the controllers' trees."""
    name = f"{cgroups.PREFIX}test-{secrets.token_hex(6)}"
    path = cgroups.hierarchies()[-1] / name
    try:
        path.mkdir()
    except OSError as error:
        pytest.skip(f"bwrap: control groups are not writable here: {error}")
    yield path
    cgroups.kill_all([path])
    cgroups.remove(name)


def make_old(path) -> None:
    long_ago = time.time() - 2 * reaper.YOUNG_SECONDS
    os.utime(path, (long_ago, long_ago))


def test_reaps_an_old_empty_group_from_a_hierarchy_without_memory(group):
    make_old(group)

    assert group.name in cgroups.leftovers()
    assert reaper.reap_groups() >= 1
    assert not group.exists()


def test_leaves_a_young_group_alone(group):
    reaper.reap_groups()

    assert group.exists()


def test_leaves_a_group_with_a_process_alone(group):
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        (group / "cgroup.procs").write_text(str(sleeper.pid))
        make_old(group)

        assert not cgroups.is_empty(group.name)
        reaper.reap_groups()
        assert group.exists()
    finally:
        sleeper.kill()
        sleeper.wait()
