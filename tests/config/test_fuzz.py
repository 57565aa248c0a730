"""Every operation under requests that nobody wrote: right ones by its description, and wrong ones.

No answer is a 5xx, every answer is as described, every failure is a problem document. A few
requests of each kind by default; `script/test tests/config/test_fuzz.py --fuzz-examples 100` looks
harder.
"""

import json
from typing import Any

import pytest
import requests
import schemathesis
from django.db import transaction
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS

from guardian import stream_schema
from guardian.authority import ROLE_SCOPES
from guardian.services import create_token
from tests.config.world import World, make_world

# Its own answer must not be sought on a network, nor wait for a worker that is not there.
WAITS = {"wait": 0}
LOOK = settings(
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
JUDGED = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
)


@pytest.fixture
def here(db) -> World:
    return make_world("harbour")


@pytest.fixture
def powerful(here) -> str:
    admin = here.people["admin"]
    _, text = create_token(actor=admin, name="fuzz", scopes=sorted(ROLE_SCOPES["admin"]))
    return text


def real_ids(here: World, path: str) -> dict[str, Any]:
    """The path's parameters as they are for this team's rows."""
    found, head = {}, path
    while "{" in head:
        before, rest = head.split("{", 1)
        name, after = rest.split("}", 1)
        found[name] = str(here.rows[before])
        head = f"{before}{found[name]}{after}"
    return found


def faults(operation: Any, here: World, token: str, mode: GenerationMode, many: int) -> list[str]:
    """What is wrong with the answers to this many requests of one operation."""
    found: list[str] = []
    known = real_ids(here, operation.path)

    @settings(LOOK, max_examples=many)
    @given(operation.as_strategy(generation_mode=mode), st.booleans())
    def ask(case: Any, on_a_row: bool) -> None:
        if on_a_row and known:
            case.path_parameters = known
        if isinstance(case.body, dict) and "wait" in case.body:
            case.body = {**case.body, **WAITS}
        headers = {"Authorization": f"Bearer {token}"}
        if not (case.headers or {}).get("If-Match"):
            headers["If-Match"] = "*"
        with transaction.atomic():
            answer = sent(case, headers)
            transaction.set_rollback(True)
        found.extend(judge(case, answer))

    ask()
    return found


def sent(case: Any, headers: dict[str, str]) -> schemathesis.Response:
    """The request through the whole application, in this test's own transaction."""
    asked = case.as_transport_kwargs(base_url="http://testserver", headers=headers)
    known = {"method", "url", "headers", "params", "cookies", "data", "json", "files"}
    request: Any = requests.Request(**{k: v for k, v in asked.items() if k in known}).prepare()
    answer: Any = Client(raise_request_exception=False).generic(
        request.method,
        request.path_url,
        request.body or b"",
        content_type=request.headers.get("Content-Type", ""),
        headers={k: v for k, v in request.headers.items() if k.lower() not in _OWN},
    )
    content = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return schemathesis.Response(
        status_code=answer.status_code,
        headers={k.lower(): [v] for k, v in answer.headers.items()},
        content=content,
        request=request,
        elapsed=0.01,
        verify=False,
    )


_OWN = {"content-type", "content-length", "cookie"}


def judge(case: Any, answer: Any) -> list[str]:
    where = f"{case.operation.label}: {answer.status_code} to {str(case.body)[:200]} {case.query}"
    wrong: list[str] = []
    try:
        case.validate_response(answer, checks=[CHECKS.get_one(name) for name in JUDGED])
    except (schemathesis.errors.SchemathesisError, BaseExceptionGroup) as error:
        wrong.append(f"{where}: {str(getattr(error, 'exceptions', error))[:600]}")
    if answer.status_code >= 400:
        body = json.loads(answer.content)
        if answer.headers["content-type"] != ["application/problem+json"] or "code" not in body:
            wrong.append(f"{where}: no problem document")
        elif answer.status_code == 400 and not all(
            error.get("message") for error in body.get("errors") or [{}]
        ):
            wrong.append(f"{where}: says not what is wrong: {body}")
    return wrong


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_no_request_makes_a_server_error_or_an_answer_unlike_its_description(
    here, powerful, mode, pytestconfig
):
    many = pytestconfig.getoption("--fuzz-examples")
    schema = schemathesis.openapi.from_dict(SchemaGenerator().get_schema(public=True))
    operations = [result.ok() for result in schema.get_all_operations()]
    # The stream is not Django's and does not end.
    operations = [operation for operation in operations if operation.path != stream_schema.PATH]
    assert len(operations) > 80

    wrong = [
        fault for operation in operations for fault in faults(operation, here, powerful, mode, many)
    ]

    assert wrong == [], f"{len(wrong)} faults\n" + "\n".join(wrong[:40])
