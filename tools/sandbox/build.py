"""Command of script/sandbox-image: build and say what was built."""

import sys

from tools.sandbox.image import build


def main() -> None:
    image = build()
    sys.stdout.write(f"{image.image_id or image.rootfs}\n")
    if not image.image_id:
        sys.stderr.write("No engine answers, so only bubblewrap can use it: script/engine start\n")


if __name__ == "__main__":
    main()
