"""Command of script/sandbox-image: build and say what was built."""

import os
import sys
from pathlib import Path

from tools.sandbox.image import PLACE, ImageIncomplete, build


def main() -> None:
    PLACE.data_dir = Path(os.environ.get("LEMNOS_DATA_DIR", "var"))
    try:
        image = build()
    except ImageIncomplete as error:
        sys.exit(str(error))
    sys.stdout.write(f"{image.image_id or image.rootfs}\n")
    if not image.image_id:
        sys.stderr.write("No engine answers, so only bubblewrap can use it: script/engine start\n")


if __name__ == "__main__":
    main()
