"""Claims under chaos through the REST API: 9,000 tasks, 1,000 agents killed, 300 paused.

Not a speed: goals are 0 lost, 0 done twice, fences that only rise, and at least 50 writes of those
who came too late refused. The suite runs a small one, and three broken variants that the checker
must catch (tests/e2e/test_chaos.py).
"""

import argparse
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

from bench._measure import Goal, conclude, prepare


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--tasks", type=int, default=9_000)
    arguments.add_argument("--kills", type=int, default=1_000)
    arguments.add_argument("--pauses", type=int, default=300)
    arguments.add_argument("--agents", type=int, default=8)
    asked = arguments.parse_args()
    prepare()

    import uvicorn
    from django.conf import settings

    from bench._chaos import run
    from config.asgi import application

    settings.RATE_LIMITS = dict.fromkeys(settings.RATE_LIMITS, 1_000_000)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(
        uvicorn.Config(application, port=port, log_level="error", lifespan="off")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(
            port=port,
            log=Path(folder) / "agents.log",
            tasks=asked.tasks,
            agents=asked.agents,
            kills=asked.kills,
            pauses=asked.pauses,
            seconds=3_600,
        )
    server.should_exit = True
    thread.join(10)
    for violation in outcome.violations:
        print(violation)
    print(
        f"\n{outcome.completed} completed, {outcome.given_up} given up after three lost leases, of"
        f" {outcome.tasks}; {outcome.kills} kills, {outcome.pauses} pauses, {outcome.stale} late"
        f" writes refused, {outcome.seconds:.0f} s"
    )
    return conclude(
        [
            Goal("violations", len(outcome.violations), at_most=0),
            Goal("late writes refused", outcome.stale, at_least=50),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
