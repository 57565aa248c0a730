"""read_artifact: a range of a stored file, as text if it is UTF-8, else base64."""

import base64
from pathlib import Path

import source


def main() -> None:
    asked = source.options()
    content = Path("artifact.bin").read_bytes()
    answer = dict(asked["facts"])
    try:
        answer["content"] = content.decode()
    except UnicodeDecodeError:
        answer["content_base64"] = base64.b64encode(content).decode()
    source.answer(answer)


main()
