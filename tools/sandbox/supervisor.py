"""Process 1 of every sandbox: starts one tool, watches it, sends all results as frames.

A stdlib-only script. It arrives over its own standard input (no bind mount), so it must not import
anything of Lemnos. Wire format, both ways in network byte order:

in   script length (4), script, header length (4), header JSON, stdin bytes, bytes of each file
out  frames: type (1), length (4), payload. Only this process holds the outer stdout; the tool
     writes to pipes, so a frame cannot be forged.

Frame types: S started, O stdout, E stderr, L own decision, F file, R refusals, C counters, X exit.
"""

import contextlib
import ctypes
import json
import os
import re
import resource
import select
import signal
import stat
import struct
import sys
import time

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}\Z")
MAX_FILES, MAX_FILE, MAX_TOTAL, MAX_ENTRIES = 64, 1024 * 1024, 8 * 1024 * 1024, 2000
DRAIN_SECONDS = 0.2
PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 4, 36
OUTER_STDOUT = 1


def frame(kind, payload):
    """Write one frame to the outer stdout, whole."""
    data = memoryview(struct.pack("!cI", kind, len(payload)) + payload)
    while data:
        data = data[os.write(OUTER_STDOUT, data) :]


def frame_json(kind, value):
    frame(kind, json.dumps(value).encode())


def read_exactly(size):
    parts = []
    while size:
        part = os.read(0, min(size, 1 << 20))
        if not part:
            raise SystemExit("input ended early")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def place_file(workdir, path, size):
    """Copy `size` bytes of the input to workdir/path; Lemnos made and checked the path."""
    target = os.path.join(workdir, path)
    os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        while size:
            part = os.read(0, min(size, 1 << 20))
            if not part:
                raise SystemExit("input ended early")
            size -= len(part)
            while part:
                part = part[os.write(fd, part) :]
    finally:
        os.close(fd)


def read_file(path):
    with contextlib.suppress(OSError), open(path, "rb") as source:
        return source.read(65536).decode("ascii", "replace")
    return ""


def number(text, key=None):
    """The first integer of `text`, or the one after `key` at a line's start; None if absent."""
    for line in text.splitlines():
        words = line.split()
        if key is None and words and words[0].isdigit():
            return int(words[0])
        if key is not None and len(words) > 1 and words[0] == key and words[1].isdigit():
            return int(words[1])
    return None


def own_counters():
    """Kernel counters of this process's own cgroup, v2 or v1, as far as readable."""
    v2, memory, pids = "/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids"
    # An engine mounts the container's own group there; without a container it is the host's.
    if os.getpid() != 1 or not os.environ.get("LEMNOS_CGROUP_VISIBLE"):
        return {}
    if os.path.exists(v2 + "/memory.events"):
        events = read_file(v2 + "/memory.events")
        found = {
            "oom_kill": number(events, "oom_kill"),
            "peak_memory_bytes": number(read_file(v2 + "/memory.peak")),
            "pids_max_hits": number(read_file(v2 + "/pids.events"), "max"),
        }
    else:
        found = {
            "oom_kill": number(read_file(memory + "/memory.oom_control"), "oom_kill"),
            "peak_memory_bytes": number(read_file(memory + "/memory.max_usage_in_bytes")),
            "pids_max_hits": number(read_file(pids + "/pids.events"), "max"),
        }
    return {name: value for name, value in found.items() if value is not None}


def collect(directory, declared):
    """Yield (name, bytes) of the declared regular files in `directory`; return refusals at the end.

    Nothing is followed, nothing is trusted twice: one open per entry, checked on the descriptor.
    """
    refused = []
    if not declared:
        return refused
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        top = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        return [{"name": ".", "why": error.strerror}]
    names, too_many = [], False
    with os.scandir(top) as entries:
        for entry in entries:
            if len(names) >= MAX_ENTRIES:
                too_many = True
                break
            names.append(entry.name)
    if too_many:
        refused.append({"name": ".", "why": f"more than {MAX_ENTRIES} entries"})
    wanted = sorted(names) if "*" in declared else [n for n in declared if n in set(names)]
    sent = total = 0
    for name in wanted:
        content, why = read_entry(top, name, flags)
        if why is None and sent >= MAX_FILES:
            why = f"more than {MAX_FILES} files"
        if why is None and total + len(content) > MAX_TOTAL:
            why = f"more than {MAX_TOTAL} bytes together"
        if why is not None:
            refused.append({"name": name.encode("utf-8", "replace").decode()[:300], "why": why})
            continue
        sent += 1
        total += len(content)
        yield name, content
    os.close(top)
    return refused


def read_entry(top, name, flags):
    """(bytes, None) of one entry, or (b"", reason)."""
    if not NAME.match(name):
        return b"", "name not allowed"
    try:
        fd = os.open(name, flags, dir_fd=top)
    except OSError as error:
        return b"", error.strerror
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            return b"", "not a regular file"
        if info.st_nlink != 1:
            return b"", "hard link"
        parts, left = [], MAX_FILE + 1
        while left:
            part = os.read(fd, min(left, 65536))
            if not part:
                break
            parts.append(part)
            left -= len(part)
        if not left:
            return b"", f"larger than {MAX_FILE} bytes"
        return b"".join(parts), None
    except OSError as error:
        return b"", error.strerror
    finally:
        os.close(fd)


def become_tool(header, pipes, libc):
    """In the child: last settings, then exec; never returns."""
    try:
        # Refused while non-dumpable; the kernel shall take the tool first, not process 1.
        libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
            score.write("1000")
        os.setsid()
        for target, fd in enumerate(pipes):
            os.dup2(fd, target)
        os.closerange(3, 4096)
        for name, wanted in header.get("rlimits", {}).items():
            limit = getattr(resource, name)
            hard = resource.getrlimit(limit)[1]
            new = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(limit, (new, new))
        for signum in range(1, signal.NSIG):
            with contextlib.suppress(OSError, ValueError):
                signal.signal(signum, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        os.chdir(header["cwd"])
        os.execvpe(header["argv"][0], header["argv"], header["env"])
    except BaseException as error:
        os.write(2, f"cannot start {header['argv'][0]!r}: {error}\n".encode())
    os._exit(127)


class Tool:
    """The running tool: pipes, limits, exit status."""

    def __init__(self, header, stdin):
        self.header, self.stdin = header, memoryview(stdin)
        self.sent = {b"O": 0, b"E": 0}
        self.cap = header["output_bytes"]
        self.status = self.decision = None
        self.deadline = time.monotonic() + header["deadline"]

    def start(self, libc):
        tool_in, self.to_tool = os.pipe()
        self.out, tool_out = os.pipe()
        self.err, tool_err = os.pipe()
        self.wake, wake_write = os.pipe()
        for fd in (self.to_tool, self.out, self.err, self.wake, wake_write):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        self.pid = os.fork()
        if self.pid == 0:
            signal.set_wakeup_fd(-1)
            become_tool(self.header, (tool_in, tool_out, tool_err), libc)
        for fd in (tool_in, tool_out, tool_err):
            os.close(fd)
        self.open = {self.out: b"O", self.err: b"E"}

    def feed(self):
        """Give the tool more of its input; a tool that does not read is its own affair."""
        try:
            self.stdin = self.stdin[os.write(self.to_tool, self.stdin[:65536]) :]
        except BlockingIOError:
            return
        except OSError:
            self.stdin = self.stdin[:0]
        if not self.stdin:
            os.close(self.to_tool)
            self.to_tool = -1

    def pump(self, fd):
        """Move one piece of output outwards, up to the cap of its stream."""
        kind = self.open[fd]
        try:
            data = os.read(fd, 65536)
        except BlockingIOError:
            return
        if not data:
            del self.open[fd]
            return
        room = self.cap - self.sent[kind]
        if data[:room]:
            frame(kind, data[:room])
        self.sent[kind] += len(data)
        if len(data) > room:
            self.decide("output_truncated")

    def decide(self, what):
        """Say why before killing, so that a death of ours is never blamed on the tool."""
        if self.decision is None:
            self.decision = what
            frame_json(b"L", {"decision": what})
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def reap(self):
        """Collect every dead child; the tool's own status is kept."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self.pid:
                    self.status = os.waitstatus_to_exitcode(status)

    def step(self, timeout):
        writers = [self.to_tool] if self.to_tool >= 0 else []
        ready, writable, _ = select.select([*self.open, self.wake], writers, [], timeout)
        if writable:
            self.feed()
        for fd in ready:
            if fd == self.wake:
                with contextlib.suppress(BlockingIOError):
                    os.read(self.wake, 4096)
            else:
                self.pump(fd)
        self.reap()

    def watch(self):
        while self.status is None:
            left = self.deadline - time.monotonic()
            if left <= 0:
                self.decide("timeout")
            self.step(min(max(left, 0.01), 1.0))
        # A grandchild may hold the pipes for ever: what is there now is taken, then it is over.
        end = time.monotonic() + DRAIN_SECONDS
        while self.open and self.decision is None and time.monotonic() < end:
            self.step(min(0.02, max(0.0, end - time.monotonic())))


def kill_descendants():
    """Without a pid namespace (level none): end whatever the tool left behind."""
    me = os.getpid()
    for _ in range(20):
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        children = read_file(f"/proc/{me}/task/{me}/children").split()
        if not children:
            return
        for child in children:
            with contextlib.suppress(OSError):
                os.kill(int(child), signal.SIGKILL)
        time.sleep(0.01)


def main():
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    alone = os.getpid() != 1
    if alone:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        signal.signal(signal.SIGTERM, lambda *_: (kill_descendants(), os._exit(143)))
    header = json.loads(read_exactly(struct.unpack("!I", read_exactly(4))[0]))
    os.makedirs(header["cwd"], mode=0o700, exist_ok=True)
    stdin = read_exactly(header["stdin_size"])
    for item in header["files"]:
        place_file(header["cwd"], item["path"], item["size"])
    os.close(0)
    os.open("/dev/null", os.O_RDONLY)
    tool = Tool(header, stdin)
    started = time.monotonic()
    tool.start(libc)
    frame_json(b"S", {"pid": tool.pid})
    tool.watch()
    wall = time.monotonic() - started
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    if alone:
        kill_descendants()
    counters = own_counters()
    counters["cpu_seconds"] = round(usage.ru_utime + usage.ru_stime, 4)
    counters["max_rss_bytes"] = usage.ru_maxrss * 1024
    refused = yield_files(header)
    frame_json(b"R", refused)
    frame_json(b"C", counters)
    frame_json(b"X", {"code": tool.status, "wall_ms": int(wall * 1000), "truncated": tool.decision})
    os._exit(tool.status if tool.status >= 0 else 128 - tool.status)


def yield_files(header):
    """Send the declared files; answer the refusals."""
    gatherer = collect(header["outdir"], header["outputs"])
    if isinstance(gatherer, list):
        return gatherer
    while True:
        try:
            name, content = next(gatherer)
        except StopIteration as end:
            return end.value or []
        title = name.encode()
        frame(b"F", struct.pack("!H", len(title)) + title + content)


if __name__ == "__main__":
    sys.excepthook = lambda kind, error, _: os.write(2, f"{kind.__name__}: {error}\n".encode())
    main()
