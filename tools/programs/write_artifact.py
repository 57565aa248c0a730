"""write_artifact: decode the content and hand it out as a declared file."""

import base64
import binascii
import os
from pathlib import Path

import source

MAX_BYTES = 1024 * 1024


def main() -> None:
    asked = source.options()
    if "content" in asked:
        content = asked["content"].encode()
    else:
        try:
            content = base64.b64decode(asked["content_base64"], validate=True)
        except binascii.Error as error:
            raise SystemExit(f"content_base64 is not base64: {error}") from error
    if len(content) > MAX_BYTES:
        raise SystemExit("the content is larger than 1 MiB")
    Path(os.environ["SANDBOX_OUT"], "content").write_bytes(content)
    source.answer({"name": asked["name"], "size": len(content)})


main()
