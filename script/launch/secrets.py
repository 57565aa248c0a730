"""Keys and passwords that must survive a restart: one file each, mode 0600, below `secrets/`."""

import os
from collections.abc import Callable
from pathlib import Path
from secrets import token_hex, token_urlsafe

MAKERS: dict[str, Callable[[], str]] = {
    "LEMNOS_SECRET_KEY": lambda: token_urlsafe(48),
    "LEMNOS_TOKEN_PEPPERS": lambda: f"p1:{token_hex(32)}",
    "LEMNOS_WEBHOOK_KEY": lambda: token_hex(32),
    "LEMNOS_ADMIN_PASSWORD": lambda: token_urlsafe(12),
}


def ensure_secrets(directory: Path) -> dict[str, str]:
    """The secret settings: from the environment, else from their file, else made now."""
    found = {}
    for name, make in MAKERS.items():
        path = directory / name.removeprefix("LEMNOS_").lower()
        found[name] = os.environ.get(name) or read_or_make(path, make)
    return found


def read_or_make(path: Path, make: Callable[[], str]) -> str:
    """Written whole under another name first: a crash never leaves half a key."""
    if path.exists():
        return path.read_text().strip()
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(make() + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    return path.read_text().strip()
