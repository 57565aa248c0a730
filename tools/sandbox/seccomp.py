"""The pinned allow-list of system calls: JSON for the engine, compiled BPF for bubblewrap."""

import hashlib
import json
import platform
import struct
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
EPERM, ENOSYS = 1, 38
ALLOW, ERRNO, KILL = 0x7FFF0000, 0x00050000, 0x80000000
# struct seccomp_data: nr (4), arch (4), instruction_pointer (8), args (6 × 8, low word first).
NR, ARCH, ARG0_LOW, ARG1_LOW = 0, 4, 16, 24
LOAD, JEQ, JGE, JSET, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
X32_BIT = 0x40000000
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
NAMESPACE_FLAGS = 0x7E020080


@cache
def profile() -> str:
    """The profile given to the engine, as JSON text."""
    return (HERE / "seccomp.json").read_text()


@cache
def digest() -> str:
    """sha256 of the profile: containers made under another one are never reused."""
    return hashlib.sha256(profile().encode()).hexdigest()


def _op(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("<HBBI", code, yes, no, value)


def _when(number: int, body: list[bytes]) -> list[bytes]:
    """`body`, which always returns, for this call number; else the program goes on."""
    return [_op(JEQ, number, 0, len(body)), *body]


@cache
def bpf(machine: str = "") -> bytes:
    """The same list as a filter program for bubblewrap's --seccomp.

    Compares low words only: the kernel reads these arguments as 32-bit integers, so a value hidden
    in the high word cannot slip past. Raises KeyError on an architecture without a number table.
    """
    machine = machine or platform.machine()
    numbers: dict[str, int] = json.loads((HERE / "syscall_numbers.json").read_text())[machine]
    plain = json.loads(profile())["syscalls"][0]["names"]
    allow, refuse = _op(RETURN, ALLOW), _op(RETURN, ERRNO | EPERM)
    program = [
        _op(LOAD, ARCH),
        _op(JEQ, AUDIT_ARCH[machine], 1, 0),
        _op(RETURN, KILL),
        _op(LOAD, NR),
    ]
    if machine == "x86_64":
        program += [_op(JGE, X32_BIT, 0, 1), refuse]
    for name in ("socket", "socketpair"):
        program += _when(numbers[name], [_op(LOAD, ARG0_LOW), _op(JEQ, 1, 0, 1), allow, refuse])
    program += _when(
        numbers["personality"],
        [_op(LOAD, ARG0_LOW), _op(JEQ, 0xFFFFFFFF, 0, 1), allow, refuse],
    )
    program += _when(
        numbers["clone"], [_op(LOAD, ARG0_LOW), _op(JSET, NAMESPACE_FLAGS, 1, 0), allow, refuse]
    )
    program += _when(numbers["clone3"], [_op(RETURN, ERRNO | ENOSYS)])
    program += _when(
        numbers["ioctl"],
        [
            _op(LOAD, ARG1_LOW),
            _op(JEQ, TIOCSTI, 2, 0),
            _op(JEQ, TIOCLINUX, 1, 0),
            allow,
            refuse,
        ],
    )
    for name in plain:
        if name in numbers:
            program += [_op(JEQ, numbers[name], 0, 1), allow]
    program.append(refuse)
    return b"".join(program)
