"""bubblewrap, with an own control group (bwrap+) or with rlimits only (bwrap)."""

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

from tools.sandbox import cgroups, seccomp
from tools.sandbox.child import ChildTransport
from tools.sandbox.job import MIB, Limits
from tools.sandbox.session import BOOT, InfraError

NOBODY = 65534
# Joins the control groups and drops root before bubblewrap starts: with kernel uid 0 the sandboxed
# program would own /proc/sys, whatever its capabilities are.
ENTER = """
import json, os, resource, sys
job = json.loads(sys.argv[1])
for path in job["groups"]:
    with open(path + "/cgroup.procs", "w") as procs:
        procs.write(str(os.getpid()))
for name, value in job["rlimits"].items():
    kind = getattr(resource, name)
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))
if os.geteuid() == 0:
    os.setgroups([])
    os.setresgid(job["id"], job["id"], job["id"])
    os.setresuid(job["id"], job["id"], job["id"])
os.execv(job["argv"][0], job["argv"])
"""


class BwrapTransport(ChildTransport):
    """A fresh bubblewrap over the read-only root file system of the sandbox image."""

    def __init__(self, limits: Limits, inodes: int, *, rootfs: Path, with_cgroup: bool) -> None:
        super().__init__(limits, inodes)
        self.level = "bwrap+" if with_cgroup else "bwrap"
        self.rootfs, self.with_cgroup = rootfs, with_cgroup
        self.python = "/usr/local/bin/python3"
        self.group = f"{cgroups.PREFIX}{secrets.token_hex(8)}"
        self.groups: list[Path] = []
        self.seen = cgroups.Counters()

    def rlimits(self) -> dict[str, int]:
        if self.with_cgroup:
            return {}
        return {"RLIMIT_AS": 4 * self.limits.memory_mb * MIB}

    def outer_rlimits(self) -> dict[str, int]:
        limits = {
            "RLIMIT_NOFILE": 256, "RLIMIT_CORE": 0, "RLIMIT_FSIZE": 64 * MIB,
            "RLIMIT_MSGQUEUE": 0, "RLIMIT_MEMLOCK": 0,
        }  # fmt: skip
        if not self.with_cgroup and os.geteuid() == 0:
            limits["RLIMIT_NPROC"] = self.limits.pids
        return limits

    def argv(self, filter_fd: int) -> list[str]:
        tmp, out = (str(size * MIB) for size in (self.limits.tmp_mb, self.limits.out_mb))
        return [
            shutil.which("bwrap") or "/usr/bin/bwrap",
            "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent",
            "--new-session", "--clearenv", "--cap-drop", "ALL", "--as-pid-1",
            "--uid", str(NOBODY), "--gid", str(NOBODY), "--hostname", "sandbox",
            "--ro-bind", str(self.rootfs), "/",
            "--proc", "/proc", "--dev", "/dev",
            # The session's keyring is inherited and a user namespace does not hide it.
            "--ro-bind", "/dev/null", "/proc/keys", "--ro-bind", "/dev/null", "/proc/key-users",
            "--size", "8388608", "--tmpfs", "/dev/shm", "--remount-ro", "/dev",
            "--size", tmp, "--tmpfs", "/tmp", "--perms", "0700", "--size", out, "--tmpfs", "/out",
            "--remount-ro", "/", "--chdir", "/tmp",
            "--setenv", "PATH", "/usr/local/bin:/usr/bin:/bin", "--setenv", "LANG", "C.UTF-8",
            "--setenv", "SANDBOX", "1", "--seccomp", str(filter_fd),
            self.python, "-I", "-S", "-c", BOOT,
        ]  # fmt: skip

    def start(self) -> None:
        self.workdir, self.outdir = "/tmp/work", "/out"
        try:
            filter_fd = os.memfd_create("seccomp", 0)
            try:
                os.write(filter_fd, seccomp.bpf())
                os.lseek(filter_fd, 0, os.SEEK_SET)
                if self.with_cgroup:
                    self.groups = cgroups.create(
                        self.group, memory_mb=self.limits.memory_mb, pids=self.limits.pids,
                        cpus=self.limits.cpus,
                    )  # fmt: skip
                order = {
                    "groups": [str(path) for path in self.groups],
                    "rlimits": self.outer_rlimits(),
                    "id": NOBODY,
                    "argv": self.argv(filter_fd),
                }
                self.process = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", ENTER, json.dumps(order)],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                    cwd="/", env={"PATH": os.defpath + ":/usr/sbin:/sbin", "LANG": "C.UTF-8"},
                    start_new_session=True, bufsize=0, pass_fds=(filter_fd,),
                )  # fmt: skip
            finally:
                os.close(filter_fd)
        except (OSError, KeyError) as error:
            raise InfraError(f"cannot start bubblewrap: {error}") from error

    def kill(self) -> None:
        # bubblewrap's monitor dies, --die-with-parent takes process 1, its namespace the rest.
        cgroups.kill_all(self.groups)
        process = self._running()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)

    def counters(self) -> cgroups.Counters:
        if self.groups:
            self.seen.merge(cgroups.tree_counters(self.group))
        return self.seen

    def close(self) -> None:
        super().close()
        if self.groups:
            self.counters()
            cgroups.kill_all(self.groups)
            cgroups.remove(self.group)
