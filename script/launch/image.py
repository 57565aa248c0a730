"""script/sandbox-image build: the sandbox image from this host's own files, without a registry."""

import os
import subprocess
import sys
from pathlib import Path

from launch.venv import Virtualenv

USAGE = 2


def main(root: Path, arguments: list[str]) -> int:
    """Fill the virtualenv where needed, since the image is made of it, then build."""
    if arguments != ["build"]:
        print("usage: script/sandbox-image build")
        return USAGE
    venv = Virtualenv(root)
    venv.ensure()
    command = [str(venv.python), "-m", "tools.sandbox.build"]
    code = subprocess.run(command, cwd=root, env=os.environ, check=False).returncode
    if code == 0:
        # Beside the image's id, which programs read from the other stream.
        print("Start script/server anew; a blocked ticket then goes on by Retry.", file=sys.stderr)
    return code
