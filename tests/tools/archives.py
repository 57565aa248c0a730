"""Archives for tests, honest and hostile, made in memory."""

import io
import tarfile
import zipfile
from collections.abc import Mapping
from typing import Any

PASSING = {
    "pkg-1.0/src/pkg/__init__.py": "def one():\n    return 1\n",
    "pkg-1.0/tests/test_pkg.py": "import pkg\n\ndef test_one():\n    assert pkg.one() == 1\n",
    "pkg-1.0/LICENSE": "MIT License\n\nPermission is hereby granted, free of charge, to any\n",
}


def tar_gz(files: dict[str, str | bytes], extra: list[tarfile.TarInfo] | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for info in extra or []:
            tar.addfile(info)
    return buffer.getvalue()


def member(name: str, kind: bytes, **fields: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def zipped(files: Mapping[Any, str | bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return buffer.getvalue()


class Zeros(io.RawIOBase):
    """`size` zero bytes that never exist at once."""

    def __init__(self, size: int) -> None:
        self.left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = min(len(buffer), self.left)
        buffer[:count] = bytes(count)
        self.left -= count
        return count


def bomb(size: int) -> bytes:
    """A small tar.gz that unpacks to `size` bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=9) as tar:
        info = tarfile.TarInfo("big.bin")
        info.size = size
        tar.addfile(info, io.BufferedReader(Zeros(size)))
    return buffer.getvalue()
