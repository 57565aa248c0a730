"""The report of a checkup: Markdown for people, each figure with the run that observed it."""

from typing import Any

from phases.models import PhaseGateArtifact, Ticket

MOST_LANGUAGES, MOST_FAILURES, MOST_FINDINGS = 12, 10, 15


def compose(
    *, ticket: Ticket, source: dict[str, Any], evidence: dict[str, PhaseGateArtifact]
) -> tuple[str, str]:
    """(text, summary) from the newest inventory, test_results and lint_report of a ticket."""
    inventory = _facts(evidence["inventory"])
    tests = _facts(evidence["test_results"])
    lint = _facts(evidence["lint_report"])
    own = source.get("kind") == "self"
    summary = _summary(inventory, tests, lint, own=own)
    parts = [
        f"# Checkup: {_line(ticket.title)}",
        f"Ticket {ticket.number}. {_source(source)}",
        "## Summary",
        summary,
        "## Inventory",
        _inventory(inventory),
        _evidence(evidence["inventory"]),
        "## Tests",
        _tests(tests, own=own),
        _evidence(evidence["test_results"]),
        "## Lint",
        _lint(lint),
        _evidence(evidence["lint_report"]),
        "## How to read this",
        "Every figure was observed by a run of Lemnos itself and is stored as an artifact of the"
        " ticket. An execution id names that run; its exit code is the program's own; the"
        " isolation level says what stood between the source and the host; the SHA-256 is taken"
        " over the stored evidence, so that a changed figure shows. Tests run in one process with"
        " the source they test: a source that wants to can falsify its own result, and the sandbox"
        " keeps it from everything else.",
    ]
    return "\n\n".join(parts) + "\n", summary


def _facts(artifact: PhaseGateArtifact) -> dict[str, Any]:
    return artifact.artifact_content if isinstance(artifact.artifact_content, dict) else {}


def _line(text: str) -> str:
    """User text in one line that Markdown does not read as something else."""
    return " ".join(text.split()).replace("`", "'").replace("<", "‹").replace(">", "›")[:300]


def _source(source: dict[str, Any]) -> str:
    if source.get("kind") == "self":
        return "Source: Lemnos's own files, as shipped."
    return f"Source: the uploaded archive `{_line(str(source.get('file_id', '')))}`."


def _summary(
    inventory: dict[str, Any], tests: dict[str, Any], lint: dict[str, Any], *, own: bool
) -> str:
    subset = " (self-check subset)" if own else ""
    return (
        f"{inventory['files']} files with {inventory['lines_total']} lines;"
        f" {tests['passed']} of {tests['total']} tests passed{subset};"
        f" {lint['count']} lint findings."
    )


def _inventory(facts: dict[str, Any]) -> str:
    rows = [
        f"- Files: {facts['files']}, {facts['bytes']} bytes",
        f"- Lines: {facts['lines_total']}",
        *(f"  - {name}: {count}" for name, count in _by_count(facts["lines"])[:MOST_LANGUAGES]),
        f"- Test files: {facts.get('test_files', 0)}",
        f"- Licence: {_line(str(facts['licence'] or 'none found'))}",
    ]
    if facts.get("skipped"):
        rows.append(
            f"- Skipped (links and other entries that are not files): {len(facts['skipped'])}"
        )
    return "\n".join(rows)


def _by_count(lines: dict[str, int]) -> list[tuple[str, int]]:
    """Most lines first; the database keeps no order of keys."""
    return sorted(lines.items(), key=lambda item: (-item[1], item[0]))


def _tests(facts: dict[str, Any], *, own: bool) -> str:
    rows = [
        f"- Total: {facts['total']}",
        f"- Passed: {facts['passed']}",
        f"- Failed: {facts['failed']}",
        f"- Errors: {facts['errors']}",
        f"- Skipped: {facts['skipped']}",
    ]
    if own:
        rows.append("- This is the self-check subset: tests that need neither database nor network")
    if facts.get("reason"):
        rows.append(f"- {_line(facts['reason'])}")
    rows += [
        f"- Failed: {_line(item['test'])}: {_line(item['message'])}"
        for item in facts.get("failures", [])[:MOST_FAILURES]
    ]
    return "\n".join(rows)


def _lint(facts: dict[str, Any]) -> str:
    if not facts["count"]:
        return "No findings."
    rows = [f"{facts['count']} findings. The first of them:"]
    rows += [
        f"- `{_line(item['file'])}:{item['line']}` {_line(str(item['code']))}"
        f" {_line(item['message'])}"
        for item in facts["findings"][:MOST_FINDINGS]
    ]
    return "\n".join(rows)


def _evidence(artifact: PhaseGateArtifact) -> str:
    seen = artifact.observation or {}
    return (
        f"Evidence: execution `{seen.get('execution_id')}`, exit code {seen.get('exit_code')},"
        f" isolation `{seen.get('isolation')}`, sha256 `{artifact.sha256}`."
    )
