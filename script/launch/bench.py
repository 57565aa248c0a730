"""script/bench NAME: one bench on a database that writes as durably as a real one."""

import sys
from pathlib import Path

from launch.failure import Stopped
from launch.venv import Virtualenv
from launch.workshop import Workshop


def main(root: Path, arguments: list[str]) -> int:
    benches = sorted(path.stem for path in (root / "bench").glob("[a-z]*.py"))
    if not arguments or arguments[0] not in benches:
        print(f"usage: script/bench NAME, one of: {', '.join(benches)}", file=sys.stderr)
        return 2
    venv = Virtualenv(root)
    venv.ensure(development=True)
    try:
        with Workshop(root, venv, durable=True, docker=False) as workshop:
            bench = str(root / "bench" / f"{arguments[0]}.py")
            return workshop.run([str(venv.python), bench, *arguments[1:]], PYTHONPATH=str(root))
    except Stopped:
        return 130
