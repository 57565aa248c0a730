"""Prints the secrets of an installation as an .env file: made once, the same on every host."""

import os
import sys
from pathlib import Path
from secrets import token_hex

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "script"))

from launch.secrets import MAKERS

ENGINE_SOCKET = Path("/var/run/docker.sock")


def main() -> None:
    lines = [f"{name}={make()}" for name, make in MAKERS.items()]
    lines.append(f"POSTGRES_PASSWORD={token_hex(24)}")
    if ENGINE_SOCKET.exists():
        lines.append(f"DOCKER_GID={os.stat(ENGINE_SOCKET).st_gid}")
    sys.stdout.write("\n".join([*lines, ""]))


if __name__ == "__main__":
    main()
