"""What {kind: self} runs: pytest alone, as an installation has it, on a copy of the source."""

import re
import subprocess
import sys

from tools.sandbox import archive
from tools.self_source import self_archive


def test_passes_with_pytest_alone_no_setting_and_no_database(tmp_path):
    packed = tmp_path / "lemnos.tar.gz"
    packed.write_bytes(self_archive())
    archive.unpack(packed, tmp_path / "source")

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "selfcheck", "-p", "no:cacheprovider"],
        cwd=tmp_path / "source" / "lemnos",
        env={"PATH": "/usr/bin:/bin", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-3000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= 20
