"""lint_run: ruff over an archive; its files are parsed, never run."""

import json
import shutil
import subprocess
import sys

import source

MAX_FINDINGS = 500


def main() -> None:
    asked = source.options()
    top, _ = source.open_source()
    found = shutil.which("ruff")
    ruff = [found] if found else [sys.executable, "-m", "ruff"]
    command = [
        *ruff, "check", "--no-cache", "--exit-zero", "--output-format", "json",
        *([] if asked.get("own_config") else ["--isolated"]),
        *(["--select", ",".join(asked["select"])] if asked.get("select") else []), ".",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=top, capture_output=True, check=False)
    sys.stderr.write(done.stderr.decode("utf-8", "replace")[-8192:])
    if done.returncode != 0:
        raise SystemExit(done.returncode)
    items = json.loads(done.stdout)
    prefix = str(top.resolve()) + "/"
    source.answer(
        {
            "count": len(items),
            "findings": [
                {
                    "file": item["filename"].removeprefix(prefix),
                    "line": item["location"]["row"],
                    "col": item["location"]["column"],
                    "code": item["code"],
                    "message": item["message"][:300],
                }
                for item in items[:MAX_FINDINGS]
            ],
        }
    )


with source.refusals_answered():
    main()
