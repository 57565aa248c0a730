"""script/lint: every check that needs no running test, in one place."""

from pathlib import Path

from launch.venv import Virtualenv
from launch.workshop import Workshop


def check_everything(workshop: Workshop) -> list[str]:
    """Run all checks, each to its end; returns the names of those that failed."""
    python = str(workshop.venv.python)
    tools = str(workshop.venv.python.parent)
    checks = {
        "ruff format": [f"{tools}/ruff", "format", "--check", "."],
        "ruff check": [f"{tools}/ruff", "check", "."],
        "mypy": [f"{tools}/mypy", "."],
        "lint-imports": [f"{tools}/lint-imports"],
        "manage.py check": [python, "manage.py", "check", "--fail-level", "WARNING"],
        "makemigrations": [python, "manage.py", "makemigrations", "--check", "--dry-run"],
    }
    failed = []
    for name, command in checks.items():
        print(f"── {name}", flush=True)
        if workshop.run(command) != 0:
            failed.append(name)
    return failed


def main(root: Path, _arguments: list[str]) -> int:
    venv = Virtualenv(root)
    venv.ensure(development=True)
    with Workshop(root, venv, durable=False, docker=False) as workshop:
        failed = check_everything(workshop)
    print(f"Lint failed: {', '.join(failed)}" if failed else "Lint is clean.", flush=True)
    return 1 if failed else 0
