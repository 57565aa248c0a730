"""Capabilities to try runs with; a test loads them, and so does a process that will be killed."""

import json
import os
import signal
import time
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from uuid import UUID

from guardian.errors import DomainError
from orchestrator import capabilities
from orchestrator.capabilities import Answer, Waiting, capability
from orchestrator.errors import RunTimeout

ANY_IN = {"type": "object", "additionalProperties": True}
ANY_OUT = {"type": "object"}
NAMES: list[str] = []


class Flaky(DomainError):
    """The far side did not answer."""

    code = "far_side_away"
    permanent = False


class Refused(DomainError):
    """The far side said no."""

    code = "far_side_refused"


def lab(name, **options):
    NAMES.append(f"lab.{name}")
    return capability(
        f"lab.{name}", agent="lab", **{"inputs": ANY_IN, "outputs": ANY_OUT, **options}
    )


def load():
    """Put them into the map."""

    @lab("echo")
    def echo(ctx, step, args):
        return dict(args)

    @lab("facts", reads="history", ttl_seconds=60)
    def facts(ctx, step, args):
        return Answer(
            {
                "pack": ctx.pricing_pack_id,
                "user": str(step.actor.id),
                "scopes": sorted(step.actor.scopes),
                "key": step.idempotency_key,
            },
            source="history",
            confidence=0.5,
        )

    @lab("lasting", reads="ledger", ttl_seconds=600)
    def lasting(ctx, step, args):
        return {**args, "ledger": ctx.ledger_commit_hash}

    @lab("strict", outputs={"required": ["n"], "properties": {"n": {"type": "integer"}}},
         inputs={"required": ["n"], "properties": {"n": {}}})  # fmt: skip
    def strict(ctx, step, args):
        return {"n": args["n"]}

    @lab("money")
    def money(ctx, step, args):
        return {"total": Decimal("0.1000000000") + Decimal("0.2")}

    @lab("flaky")
    def flaky(ctx, step, args):
        """Fails until it was called args.fails times; counts in a file."""
        calls = Path(args["file"])
        with calls.open("a") as file:
            file.write(f"{time.monotonic()}\n")
        if len(calls.read_text().splitlines()) <= args["fails"]:
            raise {"flaky": Flaky, "refused": Refused, "broken": KeyError}[args.get("how", "flaky")]
        return {"calls": len(calls.read_text().splitlines())}

    @lab("slow")
    def slow(ctx, step, args):
        """Works for args.seconds, in small bites, unless it is told to stop."""
        Path(args["file"]).touch() if "file" in args else None
        until = time.monotonic() + float(args["seconds"])
        while time.monotonic() < until:
            if step.should_stop():
                raise RunTimeout("I was told to stop.")
            time.sleep(0.01)
        return {"done": True}

    @lab("deaf")
    def deaf(ctx, step, args):
        """Never asks whether to stop."""
        time.sleep(float(args["seconds"]))
        return {}

    @lab("big")
    def big(ctx, step, args):
        return {"text": "x" * args["bytes"]}

    @lab("dirty")
    def dirty(ctx, step, args):
        return {"text": "a\x00b\ud800c é"}

    @lab("meet")
    def meet(ctx, step, args):
        """Says when it ran: begin and end, one line each."""
        with Path(args["file"]).open("a") as file:
            file.write(f"+{step.step_id}\n")
        time.sleep(float(args.get("seconds", 0.05)))
        with Path(args["file"]).open("a") as file:
            file.write(f"-{step.step_id}\n")
        return {"name": step.step_id}

    @lab("effect", effects=True)
    def effect(ctx, step, args):
        """One line per key, however often it is called; kills its process where it is told to."""
        folder = Path(args["folder"])
        die_if_asked(folder, step.step_id, "before")
        path = folder / step.idempotency_key.replace(":", "_")
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        with (folder / "calls").open("a") as file:
            file.write(f"{step.step_id}\n")
        die_if_asked(folder, step.step_id, "after")
        return {"n": args.get("n", 0) + 1, "files": len(list(folder.glob("*_*")))}

    @lab("elsewhere")
    def elsewhere(ctx, step, args):
        """Waits for a subject until args.file exists."""
        if not Path(args["file"]).exists():
            raise Waiting("lab.Subject", args["id"], "waits for the lab")
        return json.loads(Path(args["file"]).read_text())


def die_if_asked(folder, step_id, when):
    order = folder / f"die.{step_id}.{when}"
    if order.exists():
        order.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def open_lab():
    load()
    try:
        yield
    finally:
        for name in NAMES:
            capabilities.forget(name)
        NAMES.clear()


if __name__ == "__main__":
    # python -m tests.orchestrator.lab <run>: one run, as its job does it; `worker`: a worker.
    import sys

    import django

    django.setup()
    from django.core.management import call_command

    from orchestrator.executor import execute_run

    load()
    if sys.argv[1] == "worker":
        call_command("worker", queues="patterns system", concurrency=2)
    else:
        execute_run(UUID(sys.argv[1]))
