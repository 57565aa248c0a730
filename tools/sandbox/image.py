"""The sandbox image: built from the host's files, known by its ID, never pulled."""

import compileall
import contextlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from py_compile import PycInvalidationMode

RECORD = "sandbox-image.json"
PACKAGES = ("pytest", "pluggy", "iniconfig", "packaging", "pygments")
FOLDERS = ("proc", "dev", "sys", "tmp", "out", "etc", "usr/local/bin", "usr/bin", "bin")
LEFT_OUT = (
    "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "__pycache__",
    "site-packages",
)  # fmt: skip


@dataclass(frozen=True)
class Image:
    """The container image's ID ("" without an engine) and the same root file system unpacked."""

    image_id: str = ""
    rootfs: str | None = None


SYSTEM_DIR = Path("/var/lib/lemnos/sandbox")


@dataclass
class Place:
    """Set once at start-up by the app: the data directory's sandbox folder, the named image."""

    data_dir: Path = Path("var")
    named_image: str = ""


PLACE = Place()


def record_dir() -> Path:
    """Where a build writes: bubblewrap drops root, so as root never below a 0700 directory."""
    return SYSTEM_DIR if os.geteuid() == 0 else PLACE.data_dir.resolve() / "sandbox"


def current_image() -> Image:
    """The recorded image, own before system-wide; a configured name replaces the container's."""
    found = Image()
    for folder in (PLACE.data_dir.resolve() / "sandbox", SYSTEM_DIR):
        with contextlib.suppress(OSError, ValueError, TypeError):
            found = Image(**json.loads((folder / RECORD).read_text()))
            break
    if found.rootfs and not Path(found.rootfs, "usr/local/bin/python3").exists():
        found = Image(found.image_id)
    return Image(PLACE.named_image or found.image_id, found.rootfs)


def libraries_of(path: Path) -> list[Path]:
    """The shared libraries and the loader a binary needs."""
    done = subprocess.run(["ldd", str(path)], capture_output=True, text=True, check=False)
    return [Path(found) for found in re.findall(r"(/\S+) \(0x", done.stdout)]


def copy_file(source: Path, target: Path) -> None:
    """Copy contents and the plain permission bits: never set-uid, never a link."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o755 if source.stat().st_mode & stat.S_IXUSR else 0o644)


class ImageIncomplete(Exception):
    """The image lacks something that must run in it."""

    def __init__(self, name: str, *, said: str = "") -> None:
        why = f"it said: {said}" if said else f"{sys.executable} has none; install requirements.txt"
        super().__init__(f"The sandbox image could not run {name}: {why}")


def build_rootfs(target: Path) -> None:
    """A small root file system from this host: Python, its library, pytest, ruff."""
    fresh = target.with_name(target.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    for name in FOLDERS:
        (fresh / name).mkdir(parents=True, exist_ok=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    interpreter = Path(sys.base_prefix, "bin", version).resolve()
    library = fresh / "usr/local/lib" / version
    copy_file(interpreter, fresh / "usr/local/bin" / version)
    for name in ("python3", "python"):
        (fresh / "usr/local/bin" / name).symlink_to(version)
    (fresh / "usr/bin/python3").symlink_to("../local/bin/python3")
    shutil.copytree(
        sysconfig.get_path("stdlib"), library, symlinks=False,
        ignore=shutil.ignore_patterns(*LEFT_OUT, "*.a", "config-*"),
    )  # fmt: skip
    copy_packages(library / "site-packages")
    # Debian's own Python looks for packages under this name only.
    (library / "dist-packages").symlink_to("site-packages")
    compile_library(library, fresh)
    binaries = [interpreter, *library.glob("lib-dynload/*.so")]
    ruff = shutil.which("ruff", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if ruff is None:
        raise ImageIncomplete("ruff")
    copy_file(Path(ruff).resolve(), fresh / "usr/local/bin/ruff")
    binaries.append(Path(ruff).resolve())
    for needed in {found for binary in binaries for found in libraries_of(binary)}:
        copy_file(needed.resolve(), fresh / str(needed).lstrip("/"))
    (fresh / "etc/passwd").write_text("nobody:x:65534:65534::/tmp:/usr/sbin/nologin\n")
    (fresh / "etc/group").write_text("nogroup:x:65534:\n")
    (fresh / "tmp").chmod(0o1777)
    for folder, _, files in os.walk(fresh):
        Path(folder).chmod(Path(folder).stat().st_mode | 0o555)
        for name in files:
            path = Path(folder, name)
            if not path.is_symlink():
                path.chmod(path.stat().st_mode & 0o777 | 0o444)
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)


def compile_library(library: Path, top: Path) -> None:
    """Byte code beside every module: nothing can write it later, each run would compile anew.

    It is believed unchecked (PEP 552): the files are read-only, and times differ between builds.
    A file that is no Python of this version keeps none; the build's proof imports what must run.
    """
    compileall.compile_dir(
        library, quiet=2, workers=0, stripdir=str(top), prependdir="/",
        invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
    )  # fmt: skip


def copy_packages(target: Path) -> None:
    """pytest and what it imports, as installed here."""
    for name in PACKAGES:
        try:
            found = distribution(name)
        except PackageNotFoundError as error:
            raise ImageIncomplete(name) from error
        for item in found.files or ():
            if ".." in item.parts or item.suffix == ".pyc":
                continue
            source = Path(str(found.locate_file(item)))
            if source.is_file():
                copy_file(source, target / str(item))
        if not any(target.glob(f"{name}*")):
            raise ImageIncomplete(name)


def import_image(rootfs: Path, tag: str) -> str:
    """Give the root file system to the engine; answers the image ID. Raises CalledProcessError."""
    with subprocess.Popen(
        ["tar", "--numeric-owner", "--owner=0", "--group=0", "-C", str(rootfs), "-c", "."],
        stdout=subprocess.PIPE,
    ) as tar:
        done = subprocess.run(
            ["docker", "import", "-", tag], stdin=tar.stdout, capture_output=True, text=True,
            check=True,
        )  # fmt: skip
    return done.stdout.strip()


def record(image: Image) -> None:
    """Beside the files, and with this installation: another's later build must not change ours."""
    folders = {record_dir()}
    if PLACE.data_dir.exists():
        folders.add(PLACE.data_dir.resolve() / "sandbox")
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / RECORD
        path.with_suffix(".new").write_text(json.dumps(asdict(image)))
        path.with_suffix(".new").rename(path)


def build(tag: str = "lemnos-sandbox:local") -> Image:
    """Build the root file system, import it where an engine answers, record both."""
    top = record_dir()
    top.mkdir(parents=True, exist_ok=True)
    rootfs = top / "rootfs"
    build_rootfs(rootfs)
    image_id = ""
    if engine_answers():
        image_id = import_image(rootfs, tag)
    prove(Image(image_id, str(rootfs)))
    # Without an engine in reach the image it has stays known; the probe asks whether it is there.
    image = Image(image_id or current_image().image_id, str(rootfs))
    record(image)
    return image


def prove(image: Image) -> None:
    """Run in it what it was made for, by whatever can enter it here. Raises ImageIncomplete."""
    if image.image_id:
        enter = ["docker", "run", "--rm", "--network", "none", image.image_id]
    elif shutil.which("bwrap"):
        enter = ["bwrap", "--unshare-all", "--ro-bind", str(image.rootfs), "/", "--proc", "/proc"]
    else:
        return  # nothing here could use it either
    for name, command in {
        "pytest": ["python3", "-m", "pytest", "--version"],
        "ruff": ["ruff", "--version"],
    }.items():
        done = subprocess.run([*enter, *command], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ImageIncomplete(name, said=(done.stderr or done.stdout).strip()[-300:])


def engine_answers() -> bool:
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"],
            capture_output=True, timeout=10, check=False,
        )  # fmt: skip
        return done.returncode == 0
    return False
