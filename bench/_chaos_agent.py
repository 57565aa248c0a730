"""Agents by fork, for a test of what happens when they die: `_chaos_agent.py HOST PORT LOG`.

Reads lines of JSON {"token", "think"} from stdin and answers each with the pid of a new agent that
works with this token through the REST API. It stands alone and imports little, so that hundreds of
agents can be killed in seconds. Each appends what it saw to LOG: `took`, `ok` or `stale` with task
and fence, one line each, written whole.
"""

import http.client
import json
import os
import random
import signal
import sys
import time

HEADERS = {"Content-Type": "application/json"}


def main() -> None:
    host, port, path = sys.argv[1:]
    log = os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how they ended
    for line in sys.stdin:
        wanted = json.loads(line)
        pid = os.fork()
        if not pid:
            try:
                work((host, int(port)), log, wanted["token"], wanted["think"])
            finally:
                os._exit(1)
        print(pid, flush=True)


def work(address: tuple[str, int], log: int, token: str, think: float) -> None:
    random.seed(os.getpid())
    headers = {**HEADERS, "Authorization": f"Bearer {token}"}
    line = http.client.HTTPConnection(*address, timeout=30)

    def post(path: str, body: dict[str, object]) -> tuple[int, dict[str, object]]:
        line.request("POST", f"/api/v1/tasks/{path}", json.dumps(body), headers)
        answer = line.getresponse()
        return answer.status, json.loads(answer.read())

    def note(what: str, task: str, fence: object) -> None:
        os.write(log, f"{what} {os.getpid()} {task} {fence}\n".encode())

    while True:
        status, answer = post("claim", {"capabilities": ["chaos"], "lease_seconds": 10})
        tasks = answer["tasks"] if status == 200 else []
        for task in tasks:  # type: ignore[attr-defined]  # a list where the status is 200
            fence = task["lease"]["token"]
            note("took", task["id"], fence)
            if random.random() < 0.3:
                post(f"{task['id']}/heartbeat", {"fence": fence})
            # At random about a moment; what is told in seconds is meant exactly.
            time.sleep(think if think >= 1 else think * 2 * random.random())
            status, _ = post(f"{task['id']}/complete", {"fence": fence, "result": {}})
            note("ok" if status == 200 else "stale", task["id"], fence)
        if not tasks:
            time.sleep(0.02)


if __name__ == "__main__":
    main()
