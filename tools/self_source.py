"""The server's own source as an archive: what {kind: self} is checked on."""

import io
import os
import tarfile
from functools import cache
from pathlib import Path

from django.conf import settings

SHIPPED_FOLDERS = (
    "bench", "config", "deploy", "docs", "guardian", "memory", "orchestrator", "phases", "script",
    "static", "templates", "tests", "tools",
)  # fmt: skip
SHIPPED_FILES = (
    ".ci", ".md", ".toml", ".txt", ".py", ".cfg", ".ini", ".yaml", "Dockerfile", ".dockerignore",
    "LICENSE",
)  # fmt: skip
LEFT_OUT = {"__pycache__", ".git", ".venv", "node_modules"}


def shipped_paths(base: Path, data_dir: Path) -> list[Path]:
    """Relative paths of the files Lemnos ships, sorted; no caches, no data, no virtualenv."""
    found = [
        Path(entry.name)
        for entry in base.iterdir()
        if entry.is_file() and not entry.is_symlink() and entry.name.endswith(SHIPPED_FILES)
    ]
    for folder in SHIPPED_FOLDERS:
        for here, names, files in os.walk(base / folder):
            names[:] = [n for n in names if n not in LEFT_OUT and Path(here, n) != data_dir]
            found += [
                Path(here, name).relative_to(base)
                for name in files
                if not name.endswith((".pyc", ".pyo")) and not Path(here, name).is_symlink()
            ]
    return sorted(found)


@cache
def self_archive() -> bytes:
    """A tar.gz of the shipped files under `lemnos/`; the same bytes as long as the files are."""
    base = Path(settings.BASE_DIR)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=6) as tar:
        for path in shipped_paths(base, Path(settings.DATA_DIR)):
            content = (base / path).read_bytes()
            info = tarfile.TarInfo(f"lemnos/{path.as_posix()}")
            info.size = len(content)
            info.mode = 0o755 if os.access(base / path, os.X_OK) else 0o644
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def pack_texts(files: dict[str, str]) -> bytes:
    """Texts by relative path as a tar, so that one program serves both ways of giving files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, text in files.items():
            content = text.encode()
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o644
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()
