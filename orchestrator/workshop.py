"""The workshop: capabilities that look at a source through the tools, each under its own run.

What a step finds is never taken from its arguments: evidence is read back from the execution
that observed it, and the mark that a source is Lemnos's own is set here, not by a caller.
"""

from typing import Any

from django.utils import timezone

from guardian.errors import Invalid
from orchestrator.capabilities import Answer, StepContext, Waiting, capability
from orchestrator.errors import EvidenceNotOurs, RunOfToolFailed
from orchestrator.reports import compose
from orchestrator.request_context import RequestCtx
from orchestrator.sources import Origin, resolve
from phases import services as phases
from phases.models import PhaseGateArtifact, Task
from tools import runner
from tools import services as tools
from tools.models import ToolExecution

AGENT = "workshop"

SOURCE: dict[str, Any] = {"type": "object"}
EVIDENCE_OF_RUN: dict[str, Any] = {
    "execution_id": {"type": "string", "format": "uuid"},
    "exit_code": {"type": ["integer", "null"]},
    "isolation": {"type": "string"},
}
EXECUTION = "01920000-0000-7000-8000-000000000000"


def _contract(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": properties}


def run_tool(
    step: StepContext,
    tool: str,
    value: dict[str, Any],
    origin: Origin,
    seconds: float | None = None,
) -> ToolExecution:
    """One run of a tool for this step, ended well; the same step finds its own run again.

    Raises Waiting while another host does it, RunOfToolFailed with what went wrong, and what a
    request refuses (IsolationUnavailable first of all).
    """
    key = step.idempotency_key
    before = (
        ToolExecution.objects.filter(
            team_id=step.actor.team_id,
            run_key=key,
            tool__name=tool,
            input_data=value,
            origin=origin,
            user=step.actor.user,
        )
        .order_by("-id")
        .first()
    )
    if before is not None and before.status == "pending":
        raise Waiting("tools.toolexecution", before.pk)
    if before is not None and before.status == "completed":
        return before
    if before is not None and before.status == "running":
        # Its host is lost, or this step would not be called again.
        tools.cancel_execution(
            execution_id=before.pk, actor=step.actor, reason="The step that asked is made again."
        )
    execution = runner.execute(
        tool=tool,
        actor=step.actor,
        input=value,
        context={
            "ticket_id": str(step.ticket_id or ""),
            "task_id": str(step.task_id or ""),
            "run_id": str(step.run_id),
            "step_id": step.step_id,
        },
        run_key=key,
        origin=origin,
        timeout_seconds=seconds,
        should_stop=step.should_stop,
    )
    if not execution.has_ended:
        raise Waiting("tools.toolexecution", execution.pk)
    if execution.status != "completed":
        raise failure_of(execution)
    return execution


def failure_of(execution: ToolExecution) -> RunOfToolFailed:
    """Why a tool's run ended badly; a fault of the host may pass, one of the source does not."""
    refused = answered(execution).get("refused")
    code = refused["code"] if isinstance(refused, dict) else execution.result_class
    return RunOfToolFailed(
        execution.error_message or "The tool's run failed.",
        code=str(code),
        permanent=execution.result_class not in {"infra_error", "cancelled"},
        execution_id=str(execution.pk),
    )


def answered(execution: ToolExecution) -> dict[str, Any]:
    """What a run answered, as an object."""
    return execution.output_data if isinstance(execution.output_data, dict) else {}


def observed(execution: ToolExecution) -> dict[str, Any]:
    """How a run was observed, for those who judge it."""
    return {
        "execution_id": str(execution.pk),
        "exit_code": execution.exit_code,
        "isolation": execution.isolation_level,
    }


@capability(
    "repo.open",
    agent=AGENT,
    inputs=_contract({"source": SOURCE}, "source"),
    outputs=_contract({"source": SOURCE, "kind": {"type": "string"}}, "source", "kind"),
    reads="external",
    example={"source": {"kind": "self"}, "kind": "self"},
)
def open_source(_ctx: RequestCtx, step: StepContext, args: dict[str, Any]) -> dict[str, Any]:
    """Make sure that the source is there before anything is run."""
    resolve(team_id=step.actor.team_id, source=args["source"])
    return {"source": args["source"], "kind": str(args["source"]["kind"])}


@capability(
    "repo.count_lines",
    agent=AGENT,
    inputs=_contract({"source": SOURCE}, "source"),
    outputs=_contract(
        {**EVIDENCE_OF_RUN, "files": {"type": "integer"}, "lines_total": {"type": "integer"}},
        "execution_id",
        "files",
        "lines_total",
    ),
    reads="external",
    effects=True,
    example={"execution_id": EXECUTION, "files": 12, "lines_total": 840},
)
def count_lines(_ctx: RequestCtx, step: StepContext, args: dict[str, Any]) -> dict[str, Any]:
    """Files, bytes, lines by language, tests and licence; nothing of the source is run."""
    value, origin = resolve(team_id=step.actor.team_id, source=args["source"])
    done = run_tool(step, "source_inventory", value, origin)
    found = answered(done)
    return {**observed(done), "files": found["files"], "lines_total": found["lines_total"]}


@capability(
    "repo.lint",
    agent=AGENT,
    inputs=_contract({"source": SOURCE}, "source"),
    outputs=_contract({**EVIDENCE_OF_RUN, "count": {"type": "integer"}}, "execution_id", "count"),
    reads="external",
    effects=True,
    example={"execution_id": EXECUTION, "count": 3},
)
def lint(_ctx: RequestCtx, step: StepContext, args: dict[str, Any]) -> dict[str, Any]:
    """What ruff finds; the files are parsed, not run."""
    value, origin = resolve(team_id=step.actor.team_id, source=args["source"])
    done = run_tool(step, "lint_run", value, origin)
    return {**observed(done), "count": answered(done)["count"]}


@capability(
    "repo.test",
    agent=AGENT,
    inputs=_contract(
        {"source": SOURCE, "timeout_seconds": {"type": "number", "exclusiveMinimum": 0}}, "source"
    ),
    outputs=_contract(
        {
            **EVIDENCE_OF_RUN,
            "total": {"type": "integer"},
            "passed": {"type": "integer"},
            "failed": {"type": "integer"},
        },
        "execution_id",
        "total",
        "passed",
        "failed",
    ),
    reads="external",
    effects=True,
    example={"execution_id": EXECUTION, "exit_code": 0, "total": 40, "passed": 40, "failed": 0},
)
def test(_ctx: RequestCtx, step: StepContext, args: dict[str, Any]) -> dict[str, Any]:
    """The source's own tests in the sandbox; failing tests are a result, not a fault."""
    value, origin = resolve(team_id=step.actor.team_id, source=args["source"])
    done = run_tool(step, "pytest_run", value, origin, args.get("timeout_seconds"))
    found = answered(done)
    return {**observed(done), **{name: found[name] for name in ("total", "passed", "failed")}}


# What each kind of evidence keeps of the run that observed it.
_KEPT: dict[str, tuple[str, tuple[str, ...]]] = {
    "inventory": (
        "source_inventory",
        (
            "files", "bytes", "skipped", "lines", "lines_total", "has_tests", "test_files",
            "licence", "top_folder",
        ),
    ),
    "test_results": (
        "pytest_run",
        (
            "total", "passed", "failed", "errors", "skipped", "exit_code", "duration_s", "reason",
            "missing_modules", "failures",
        ),
    ),
    "lint_report": ("lint_run", ("count", "findings")),
}  # fmt: skip
_MOST_LISTED = 100


def content_of(execution: ToolExecution, artifact_type: str) -> dict[str, Any]:
    """The evidence as stored: only what the run itself answered."""
    tool, names = _KEPT[artifact_type]
    if execution.tool.name != tool or execution.status != "completed":
        raise EvidenceNotOurs(f"{artifact_type} is observed by a completed run of {tool}.")
    found = answered(execution)
    content = {name: found[name] for name in names if name in found}
    for name in ("skipped", "failures", "findings"):
        if isinstance(content.get(name), list):
            content[name] = content[name][:_MOST_LISTED]
    if artifact_type == "inventory":
        content["languages"] = sorted(content["lines"], key=lambda name: -content["lines"][name])
    return content


@capability(
    "evidence.write",
    agent=AGENT,
    inputs=_contract(
        {
            "artifact_type": {"enum": sorted(_KEPT)},
            "execution_id": {"type": "string", "format": "uuid"},
        },
        "artifact_type",
        "execution_id",
    ),
    outputs=_contract(
        {"artifact_id": {"type": "string"}, "sha256": {"type": "string"}}, "artifact_id", "sha256"
    ),
    effects=True,
    example={"artifact_id": EXECUTION, "sha256": "0" * 64},
)
def write_evidence(_ctx: RequestCtx, step: StepContext, args: dict[str, Any]) -> dict[str, Any]:
    """Put what a run of this task observed beside its ticket, verified."""
    if step.ticket_id is None or step.task_id is None:
        raise EvidenceNotOurs("Only a run for a task has a ticket to put evidence beside.")
    execution = (
        ToolExecution.objects.select_related("tool")
        .filter(
            pk=args["execution_id"],
            team_id=step.actor.team_id,
            # Of this very run; what a caller writes into a context proves nothing.
            run_key__startswith=f"{step.run_id}:",
        )
        .first()
    )
    if execution is None:
        raise EvidenceNotOurs
    artifact = phases.record_evidence(
        actor=step.actor,
        ticket_id=step.ticket_id,
        task_id=step.task_id,
        artifact_type=args["artifact_type"],
        content=content_of(execution, args["artifact_type"]),
        observation={
            **observed(execution),
            "ran_the_source": tools.runs_its_input(tool=execution.tool),
            "observed_at": execution.completed_at.isoformat() if execution.completed_at else None,
        },
    )
    return {"artifact_id": str(artifact.pk), "sha256": artifact.sha256}


@capability(
    "repo.report",
    agent=AGENT,
    inputs=_contract({"source": SOURCE}, "source"),
    outputs=_contract(
        {"artifact_id": {"type": "string"}, "summary": {"type": "string"}},
        "artifact_id",
        "summary",
    ),
    reads="history",
    effects=True,
    example={"artifact_id": EXECUTION, "summary": "40 of 40 tests passed; 3 lint findings."},
)
def report(_ctx: RequestCtx, step: StepContext, args: dict[str, Any]) -> Answer:
    """Write down what was found, with the evidence of every figure."""
    task = (
        Task.objects.select_related("ticket", "phase")
        .filter(pk=step.task_id, team_id=step.actor.team_id)
        .first()
    )
    if task is None:
        raise EvidenceNotOurs("Only a run for a task has a ticket to report on.")
    newest: dict[str, PhaseGateArtifact] = {}
    found = PhaseGateArtifact.objects.filter(
        ticket_id=task.ticket_id,
        artifact_type__in=sorted(_KEPT),
        source="sandbox",
        # What was seen before is about another source.
        visit__gte=task.ticket.fresh_from_visit,
    )
    for artifact in found.order_by("recorded_at", "id"):
        newest[artifact.artifact_type] = artifact
    missing = sorted(set(_KEPT) - set(newest))
    if missing:
        raise Invalid(f"There is no evidence yet of: {', '.join(missing)}.")
    text, summary = compose(ticket=task.ticket, source=args["source"], evidence=newest)
    tests = newest["test_results"].observation or {}
    artifact = phases.record_evidence(
        actor=step.actor,
        ticket_id=task.ticket_id,
        task_id=task.pk,
        artifact_type="report",
        path="report.md",
        content=text,
        # Composed by Lemnos from what its own runs observed; the tests' run stands for them.
        observation={
            "execution_id": tests.get("execution_id"),
            "exit_code": tests.get("exit_code"),
            "isolation": tests.get("isolation"),
            "composed_from": {kind: str(found.pk) for kind, found in newest.items()},
            "observed_at": timezone.now().isoformat(),
        },
    )
    return Answer({"artifact_id": str(artifact.pk), "summary": summary})
