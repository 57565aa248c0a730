"""Command of script/sandbox-image: build and say what was built."""

import os
import sys
from pathlib import Path

from tools.sandbox.image import PLACE, ImageIncomplete, build, engine_answers


def main() -> None:
    PLACE.data_dir = Path(os.environ.get("LEMNOS_DATA_DIR", "var"))
    try:
        image = build()
    except ImageIncomplete as error:
        sys.exit(str(error))
    sys.stdout.write(f"{image.image_id or image.rootfs}\n")
    if not engine_answers():
        sys.stderr.write(
            "No engine answers, so this build is for bubblewrap only. Set DOCKER_HOST to the"
            " engine's address (script/engine start prints it) and build again.\n"
        )


if __name__ == "__main__":
    main()
