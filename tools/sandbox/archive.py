"""Unpack a tar or zip nobody vouches for: streaming, limited, nothing followed. Stdlib only.

Runs in a limited child process or inside the sandbox, never in a server process. `..`, absolute
names and devices refuse the archive whole; links are skipped and listed.
"""

import bz2
import gzip
import lzma
import os
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

MAX_PACKED = 20 * 1024 * 1024
MAX_UNPACKED = 200 * 1024 * 1024
MAX_FILES = 20_000
MAX_ENTRIES = 60_000
MAX_DEPTH = 64
MAX_SKIPPED_LISTED = 200
PIECE = 1 << 16
SEPARATORS = re.compile(r"[/\\]")


class ArchiveRefused(Exception):
    """Not unpacked; code is archive_invalid, archive_too_large or archive_unsafe."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Unpacking:
    """One archive on its way into an empty directory, with its running totals."""

    def __init__(
        self, target: Path, *, max_bytes: int = MAX_UNPACKED, max_files: int = MAX_FILES
    ) -> None:
        self.target, self.max_bytes, self.max_files = target, max_bytes, max_files
        self.files = self.bytes = self.entries = self.skipped_total = 0
        self.skipped: list[dict[str, str]] = []

    def skip(self, name: str, why: str) -> None:
        self.skipped_total += 1
        if len(self.skipped) < MAX_SKIPPED_LISTED:
            self.skipped.append({"name": printable(name), "why": why})

    def count_entry(self) -> None:
        self.entries += 1
        if self.entries > MAX_ENTRIES:
            raise ArchiveRefused("archive_too_large", f"It has more than {MAX_ENTRIES} entries.")

    def expect(self, size: int) -> None:
        """Judge a size the archive claims, before anything is written."""
        if self.bytes + size > self.max_bytes:
            limit = self.max_bytes // (1024 * 1024)
            raise ArchiveRefused("archive_too_large", f"It unpacks to more than {limit} MiB.")

    def folder(self, name: str) -> None:
        parts = safe_parts(name)
        if len(parts) > MAX_DEPTH:
            self.skip(name, "nested too deep")
        else:
            self.target.joinpath(*parts).mkdir(mode=0o700, parents=True, exist_ok=True)

    def file(self, name: str, size: int, source: IO[bytes], *, executable: bool) -> None:
        """Copy one regular file; the bytes are counted as they come, whatever its header says."""
        parts = safe_parts(name)
        if not parts:
            raise ArchiveRefused("archive_invalid", "It has a file without a name.")
        if len(parts) > MAX_DEPTH or any(len(os.fsencode(part)) > 255 for part in parts):
            self.skip(name, "name too long or nested too deep")
            return
        self.expect(size)
        self.files += 1
        if self.files > self.max_files:
            raise ArchiveRefused("archive_too_large", f"It has more than {self.max_files} files.")
        path = self.target.joinpath(*parts)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o700 if executable else 0o600), "wb") as out:
            while piece := source.read(PIECE):
                self.expect(len(piece))
                self.bytes += len(piece)
                out.write(piece)

    def finish(self) -> None:
        if not self.files:
            raise ArchiveRefused("archive_invalid", "It holds no files.")

    def report(self) -> dict[str, Any]:
        return {
            "files": self.files,
            "bytes": self.bytes,
            "skipped": self.skipped,
            "skipped_total": self.skipped_total,
        }


def printable(name: str) -> str:
    """The name as text a person can read and JSON can carry, at most 300 characters."""
    text = name.encode("utf-8", "replace").decode()[:300]
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def safe_parts(name: str) -> list[str]:
    """The path's parts; refuses whatever would leave the target directory."""
    if "\0" in name:
        raise ArchiveRefused("archive_invalid", "It has a name with a NUL byte.")
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:[/\\]", name):
        raise ArchiveRefused(
            "archive_unsafe", f"It has an absolute name: {printable(name)}. Pack relative names."
        )
    if ".." in SEPARATORS.split(name):
        raise ArchiveRefused(
            "archive_unsafe", f"It has a name that leaves its folder: {printable(name)}."
        )
    return [part for part in name.split("/") if part not in ("", ".")]


def refuse_device(name: str) -> None:
    raise ArchiveRefused("archive_unsafe", f"It has a device or pipe: {printable(name)}.")


class _Member(tarfile.TarInfo):
    """A header of a tar. Python's reader takes a cut-off archive for a short one; this one does
    not: only the end mark ends an archive.
    """

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> "_Member":
        try:
            return super().fromtarfile(tar)
        except (tarfile.TruncatedHeaderError, tarfile.EmptyHeaderError) as error:  # type: ignore[attr-defined]  # the stub lacks them
            if tar.offset == 0:  # not even one header: this never was a tar
                raise
            raise EOFError("the end mark of the archive is missing") from error


@contextmanager
def plain_stream(source: Path) -> Iterator[Any]:
    """The bytes of a tar, unpacked on the fly; checksums are verified where the stream ends."""
    with source.open("rb") as raw:
        head = raw.read(6)
        raw.seek(0)
        opened: Any = raw
        if head.startswith(b"\x1f\x8b"):
            opened = gzip.GzipFile(fileobj=raw)
        elif head.startswith(b"BZh"):
            opened = bz2.BZ2File(raw)
        elif head.startswith(b"\xfd7zXZ\x00"):
            opened = lzma.LZMAFile(raw)  # noqa: SIM115  closed by the next line
        with opened:
            yield opened


def unpack_tar(source: Path, work: Unpacking) -> None:
    with plain_stream(source) as stream:
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Member) as tar:
            for member in tar:
                unpack_member(tar, member, work)
                tar.members = []  # type: ignore[attr-defined]  # a stream of many members must not pile up in memory
        # What follows the end mark is read for its checksum alone, and counts like content.
        rest = 0
        while piece := stream.read(PIECE):
            rest += len(piece)
            work.expect(rest)


def unpack_member(tar: tarfile.TarFile, member: tarfile.TarInfo, work: Unpacking) -> None:
    work.count_entry()
    # Names are judged for every member, links included, before its kind is.
    safe_parts(member.name)
    if member.isdir():
        work.folder(member.name)
    elif member.issym() or member.islnk():
        work.skip(member.name, "symbolic link" if member.issym() else "hard link")
    elif member.isreg():
        work.expect(member.size)
        content = tar.extractfile(member)
        if content is None:
            raise ArchiveRefused("archive_invalid", "A member cannot be read.")
        work.file(member.name, member.size, content, executable=bool(member.mode & 0o100))
    else:
        refuse_device(member.name)


def unpack_zip(source: Path, work: Unpacking) -> None:
    with zipfile.ZipFile(source) as packed:
        for info in packed.infolist():
            work.count_entry()
            safe_parts(info.orig_filename)
            mode = info.external_attr >> 16 if info.create_system == 3 else 0
            kind = stat.S_IFMT(mode)
            if info.is_dir():
                work.folder(info.filename)
            elif kind == stat.S_IFLNK:
                work.skip(info.filename, "symbolic link")
            elif kind not in (0, stat.S_IFREG):
                refuse_device(info.filename)
            elif info.flag_bits & 0x1:
                raise ArchiveRefused("archive_invalid", "It is encrypted. Upload it without.")
            else:
                work.expect(info.file_size)
                with packed.open(info) as content:
                    work.file(info.filename, info.file_size, content, executable=bool(mode & 0o100))


def unpack(source: Path, target: Path, **limits: int) -> dict[str, Any]:
    """Unpack `source` into the new directory `target`: {files, bytes, skipped, skipped_total}.

    Raises ArchiveRefused; then `target` is gone again, nothing half-unpacked stays.
    """
    if source.stat().st_size > MAX_PACKED:
        raise ArchiveRefused("archive_too_large", "It is larger than 20 MiB packed.")
    target.mkdir(mode=0o700)
    work = Unpacking(target, **limits)
    try:
        with source.open("rb") as raw:
            is_zip = raw.read(2) == b"PK"
        (unpack_zip if is_zip else unpack_tar)(source, work)
        work.finish()
    except ArchiveRefused:
        shutil.rmtree(target, ignore_errors=True)
        raise
    except MemoryError:
        shutil.rmtree(target, ignore_errors=True)
        raise ArchiveRefused("archive_too_large", "Unpacking it needs too much memory.") from None
    except (
        tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError,
        EOFError, OSError, NotImplementedError, ValueError, RuntimeError,
    ) as error:  # fmt: skip
        shutil.rmtree(target, ignore_errors=True)
        raise ArchiveRefused("archive_invalid", describe(error)) from error
    return work.report()


def describe(error: Exception) -> str:
    if isinstance(error, EOFError) or "end of data" in str(error) or "end of file" in str(error):
        return "It ends too early: the upload or the packing was cut off."
    return f"It is no tar, tar.gz or zip archive that can be read ({printable(str(error))})."


def single_top(target: Path) -> Path:
    """The one folder everything lies in, or `target` itself."""
    entries = list(target.iterdir())
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else target


def walk(target: Path) -> Iterator[Path]:
    """All regular files below `target`, sorted, so that two runs say the same."""
    for folder, names, files in os.walk(target):
        names.sort()
        for name in sorted(files):
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink():
                yield path
