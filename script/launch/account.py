"""PostgreSQL refuses root: started as root, database and Redis run as the system user `lemnos`."""

import os
import pwd
import shutil
import subprocess
from pathlib import Path

from launch.children import Account
from launch.failure import DATABASE_FAILED, Failure

NAME = "lemnos"


def service_account(cluster: Path) -> Account | None:
    """Whom the cluster belongs to or shall belong to; None when the launcher is that user.

    Raises Failure (exit 6) where such a user neither exists nor can be made.
    """
    if os.geteuid() != 0:
        return None
    owner = cluster.stat().st_uid if cluster.exists() else 0
    if owner != 0:  # a cluster that somebody started without root stays theirs
        return as_account(pwd.getpwuid(owner))
    try:
        return as_account(pwd.getpwnam(NAME))
    except KeyError:
        return make_account()


def make_account() -> Account:
    options = ["--system", "--no-create-home", "--shell", "/usr/sbin/nologin", NAME]
    remedy = f"make the system user {NAME}, start as another user than root, or set DATABASE_URL"
    program = shutil.which("useradd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None:
        raise Failure(
            DATABASE_FAILED, f"PostgreSQL cannot run as root and there is no useradd: {remedy}"
        )
    made = subprocess.run([program, *options], check=False, capture_output=True, text=True)
    try:
        return as_account(pwd.getpwnam(NAME))
    except KeyError:
        message = f"PostgreSQL cannot run as root and useradd failed: {made.stderr.strip()}"
        raise Failure(DATABASE_FAILED, f"{message}; {remedy}") from None


def as_account(entry: pwd.struct_passwd) -> Account:
    return Account(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid)


def give(path: Path, account: Account | None) -> None:
    if account is not None:
        os.chown(path, account.uid, account.gid)


def run_as(account: Account | None, command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a short command as the account. Raises OSError where it cannot even be started."""
    return subprocess.run(
        command,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd="/",
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        umask=0o077,
    )


def can(account: Account | None, command: list[str]) -> bool:
    """Whether the account can run this command with success."""
    try:
        return run_as(account, command).returncode == 0
    except OSError:
        return False
