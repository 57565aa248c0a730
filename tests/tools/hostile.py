"""Hostile programs: one file, the first argument is the name. Needs SANDBOX=1.

Programs that attempt something print {"try", "got", "why"} lines; got = true is an escape, unless
the attempt is marked harmless.
"""

import ctypes
import errno
import json
import mmap
import os
import resource
import signal
import socket
import struct
import sys
import threading
import time

MIB = 1024 * 1024
HARMLESS = "harmless"


def attempt(what, action, *marks):
    try:
        answer = action()
        got, why = answer is not False, repr(answer)[:80]
    except BaseException as error:
        got, why = False, f"{type(error).__name__}: {error}"[:120]
    print(json.dumps({"try": what, "got": got and HARMLESS not in marks, "why": why}), flush=True)


def ok():
    print("out")
    print("err", file=sys.stderr)


def exit3():
    sys.exit(3)


def fake_oom():
    os.kill(os.getpid(), signal.SIGKILL)


def fake_oom_code():
    os._exit(137)


def segv():
    ctypes.string_at(0)


def mem_bomb():
    kept = []
    while True:
        kept.append(bytearray(b"x" * (8 * MIB)))


def mem_bomb_child():
    if os.fork() == 0:
        mem_bomb()
    os.wait()
    time.sleep(0.3)


def mem_bomb_fast_child():
    if os.fork() == 0:
        mem_bomb()
    os.wait()


def mem_spike():
    block = mmap.mmap(-1, 64 * MIB)
    for at in range(0, 64 * MIB, 4096):
        block[at] = 1
    time.sleep(0.03)
    block.close()


def fork_bomb():
    for _ in range(4100):
        try:
            if os.fork() == 0:
                time.sleep(30)
                os._exit(0)
        except OSError:
            break


def thread_bomb():
    for _ in range(4100):
        try:
            threading.Thread(target=time.sleep, args=(30,), daemon=True).start()
        except RuntimeError:
            break
    os._exit(0)


def fork_bomb_recursive():
    while True:
        try:
            os.fork()
        except OSError:
            time.sleep(0.01)


def spin():
    while True:
        pass


def sleep_forever():
    time.sleep(3600)


def ignore_signals():
    for number in range(1, 65):
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
    while True:
        time.sleep(1)


def stop_self():
    os.kill(os.getpid(), signal.SIGSTOP)


def kill_parent():
    for target in (os.getppid(), 1, -1):
        attempt(f"kill {target}", lambda target=target: os.kill(target, 9), HARMLESS)
    seen = [p for p in os.listdir("/proc") if p.isdigit()]
    attempt("see many processes", lambda: len(seen) > 16)


def zombie_stdout():
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
    print("parent ends")


def daemon_survivor():
    if os.fork() == 0:
        os.setsid()
        for name in (0, 1, 2):
            os.close(name)
        while True:
            with open("/tmp/alive", "a") as trace:
                trace.write("x")
            time.sleep(0.05)


def tmp_fill():
    with open("/tmp/fill", "wb") as target:
        for _ in range(512):
            target.write(b"x" * MIB)
            target.flush()
            if target.tell() >= 60 * MIB:  # below the file size limit: another file
                break
    with open("/tmp/fill2", "wb") as target:
        for _ in range(512):
            target.write(b"x" * MIB)
            target.flush()


def fd_fill():
    kept = []
    attempt("4096 descriptors", lambda: [kept.append(open("/dev/null")) for _ in range(4096)])


def write_outside():
    folders = ("/", "/etc", "/usr", "/usr/local/bin", "/bin", "/lib", "/proc", "/sys", "/root",
               "/home", "/var", "/opt", "/run", "/dev", "/srv")  # fmt: skip
    for folder in folders:
        attempt(f"write {folder}", lambda folder=folder: open(f"{folder}/x", "w").close())
    for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname",
                 "/proc/sysrq-trigger", "/proc/sys/vm/drop_caches", "/sys/kernel/uevent_helper",
                 "/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/pids/pids.max",
                 "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/cgroup.procs"):  # fmt: skip
        attempt(f"open {path}", lambda path=path: os.close(os.open(path, os.O_WRONLY)))
    score = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
    attempt("oom_score_adj -1000", lambda: os.write(score, b"-1000"))


def out_flood():
    while True:
        os.write(1, b"x" * 65535 + b"\n")


def err_flood():
    while True:
        os.write(2, b"x" * 65535 + b"\n")


def out_spoof():
    body = json.dumps({"code": 0, "wall_ms": 1, "truncated": None}).encode()
    os.write(1, struct.pack("!cI", b"X", len(body)) + body)
    os.write(1, struct.pack("!cI", b"L", 26) + b'{"decision": "cancelled"}')


def read_secrets():
    homes = [os.path.join(os.sep, "root", name) for name in (".bashrc", ".ssh", ".profile")]
    paths = (*homes, "/etc/shadow", "/var/run/docker.sock", "/run/docker.sock",
             "/proc/kcore", "/proc/kallsyms", "/proc/keys", "/dev/mem",
             "/dev/sda", "/dev/vda", "/dev/kvm", "/dev/fuse", "/dev/net/tun", "/proc/1/environ",
             "/proc/1/mem", "/var/lib/docker", "/srv", "/home")  # fmt: skip

    def read(path):
        if os.path.isdir(path):
            return len(os.listdir(path)) > 0
        fd = os.open(path, os.O_RDONLY)
        data = os.read(fd, 4096)
        if path == "/proc/kallsyms":
            return any(line.split()[0].strip(b"0") for line in data.splitlines() if line.split())
        return len(data) > 0

    for path in paths:
        attempt(f"read {path}", lambda path=path: read(path))
    for link in ("/proc/1/root", "/proc/1/cwd"):
        attempt(link, lambda link=link: os.listdir(link) and None)
    secrets = [k for k in os.environ if "SECRET" in k or "TOKEN" in k or "DATABASE" in k]
    attempt("secrets in environ", lambda: bool(secrets))


def fd_leak():
    own = os.open("/proc/self/fd", os.O_RDONLY)
    names = {int(name) for name in os.listdir(own)} - {0, 1, 2, own}
    open_ones = []
    for name in names:
        try:
            os.fstat(name)
            open_ones.append(name)
        except OSError:
            pass
    attempt(f"descriptors {open_ones}", lambda: bool(open_ones))


def net():
    for host, port in (("127.0.0.1", 5432), ("127.0.0.1", 6379), ("192.0.2.1", 80),
                       ("169.254.169.254", 80), ("172.17.0.1", 2375)):  # fmt: skip
        attempt(
            f"tcp {host}:{port}",
            lambda host=host, port=port: socket.create_connection((host, port), 1),
        )
    kinds = {"udp": (2, 2), "raw": (2, 3), "packet": (17, 3), "vsock": (40, 1), "alg": (38, 5),
             "inet6": (10, 1)}  # fmt: skip
    for name, (family, kind) in kinds.items():
        attempt(name, lambda family=family, kind=kind: socket.socket(family, kind))
    attempt("netlink", lambda: socket.socket(16, 3), HARMLESS)
    attempt("dns", lambda: socket.getaddrinfo("example.com", 80))
    names = set(os.listdir("/sys/class/net")) if os.path.isdir("/sys/class/net") else {"lo"}
    attempt(f"interfaces {names}", lambda: names - {"lo"} != set())


def setuid():
    libc = ctypes.CDLL(None, use_errno=True)

    def call(function, *args):
        if function(*args) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    status = open("/proc/self/status").read()
    attempt("is root", lambda: 0 in (os.getuid(), os.geteuid()))
    attempt("capabilities", lambda: "CapEff:\t0000000000000000" not in status)
    attempt("new privileges", lambda: "NoNewPrivs:\t1" not in status)
    attempt("no seccomp", lambda: "Seccomp:\t2" not in status)
    attempt("setuid 0", lambda: os.setuid(0))
    attempt("setgid 0", lambda: os.setgid(0))
    attempt("setgroups", lambda: os.setgroups([0]))
    attempt("nice -5", lambda: os.nice(-5))
    attempt("fifo scheduling", lambda: os.sched_setscheduler(0, 1, os.sched_param(1)))
    attempt("raise rlimit", lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (9999, 9999)))
    attempt("chroot", lambda: os.chroot("/tmp"))
    attempt("mknod", lambda: os.mknod("/tmp/dev", 0o666 | 0o060000, os.makedev(8, 0)))
    attempt("chown", lambda: (open("/tmp/f", "w").close(), os.chown("/tmp/f", 0, 0)))
    found = []
    for top in ("/usr", "/bin", "/sbin"):
        for folder, _, files in os.walk(top):
            for name in files:
                try:
                    if os.lstat(os.path.join(folder, name)).st_mode & 0o6000:
                        found.append(name)
                except OSError:
                    pass
    attempt(f"set-uid files {found[:3]}", lambda: bool(found))
    for flag in (0x10000000, 0x00020000, 0x40000000, 0x08000000, 0x04000000, 0x20000000):
        attempt(f"unshare {flag:#x}", lambda flag=flag: call(libc.unshare, flag))
    attempt("mount tmpfs", lambda: call(libc.mount, b"none", b"/tmp", b"tmpfs", 0, None))
    attempt("ptrace 1", lambda: call(libc.ptrace, 16, 1, 0, 0))


RAW = {
    "kexec_load": 246, "bpf": 321, "perf_event_open": 298, "add_key": 248, "keyctl": 250,
    "request_key": 249, "userfaultfd": 323, "io_uring_setup": 425, "init_module": 175,
    "open_by_handle_at": 304, "clock_settime": 227, "swapon": 167, "reboot": 169, "acct": 163,
    "pivot_root": 155, "setns": 308, "move_mount": 429, "fsopen": 430, "quotactl": 179,
    "lookup_dcookie": 212, "syslog": 103, "iopl": 172, "mbind": 237, "fanotify_init": 300,
    "ptrace": 101, "process_vm_readv": 310, "kcmp": 312, "pidfd_getfd": 438, "unshare": 272,
    "mount": 165, "modify_ldt": 154, "vmsplice": 278, "memfd_secret": 447, "set_mempolicy": 238,
    "ioprio_set": 251, "mq_open": 240, "shmget": 29, "semget": 64, "msgget": 68,
}  # fmt: skip


def syscalls():
    libc = ctypes.CDLL(None, use_errno=True)
    for name, number in RAW.items():
        ctypes.set_errno(0)
        answer = libc.syscall(number, 0, 0, 0, 0, 0, 0)
        code = ctypes.get_errno()
        refused = answer == -1 and code in (errno.EPERM, errno.ENOSYS, errno.EACCES)
        attempt(f"{name} ({errno.errorcode.get(code, code)})", lambda refused=refused: not refused)


def out_files():
    out = os.environ["SANDBOX_OUT"]
    os.chdir(out)
    with open("good.txt", "w") as good:
        good.write("good")
    attempt("hard link", lambda: os.link("/etc/passwd", "hard"))
    attempt("device", lambda: os.mknod("device", 0o666 | 0o020000, os.makedev(1, 3)))
    os.symlink("/etc/passwd", "soft")
    os.symlink("/proc/self/environ", "soft2")
    os.symlink("good.txt", "soft3")
    attempt("fifo", lambda: os.mkfifo("fifo"), HARMLESS)
    unix = socket.socket(socket.AF_UNIX)
    unix.bind("socket")
    with open("sparse", "wb") as sparse:
        try:
            sparse.truncate(1 << 40)
        except OSError:
            sparse.truncate(60 * MIB)
    for name in (b"new\nline", b"non\xffutf8", b"x" * 255, b"<b>html<"):
        try:
            open(name, "w").close()
        except OSError:
            pass
    with open("suid", "w") as suid:
        suid.write("suid")
    try:
        os.chmod("suid", 0o4755)
    except OSError:
        pass


if __name__ == "__main__":
    if os.environ.get("SANDBOX") != "1":
        raise SystemExit("only inside a sandbox")
    globals()[sys.argv[1]]()
