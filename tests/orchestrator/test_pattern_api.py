"""Patterns and runs through the REST API."""

import json

import pytest
import yaml

from guardian.models import Event, uuid7
from guardian.services import build_first_pack
from orchestrator import services
from orchestrator.models import ExecutionPattern, PatternRun, StepRun
from orchestrator.services import runs, steps
from tests.orchestrator.lab import open_lab

pytestmark = pytest.mark.django_db

URL = "/api/v1/patterns"
DEMO = {
    "id": "demo",
    "name": "Demo",
    "inputs": {"n": {"type": "integer", "required": True}},
    "steps": [
        {"id": "a", "agent": "lab", "capability": "lab.echo", "args": {"n": "{{inputs.n}}"}},
        {
            "id": "b",
            "agent": "lab",
            "capability": "lab.echo",
            "args": {"n": "{{state.a.n}}"},
            "condition": "state.a.n > 1",
        },
    ],
}


@pytest.fixture(autouse=True)
def lab(db):
    build_first_pack()
    with open_lab():
        yield


@pytest.fixture
def published(lead):
    services.register_pattern(text=json.dumps(DEMO), actor=lead)
    return services.publish_pattern(slug="demo", version=None, actor=lead)


@pytest.fixture
def run(published, lead):
    return services.start_run(pattern="demo", inputs={"n": 3}, actor=lead)


class TestPatterns:
    def test_a_draft_is_stored_replaced_published_and_never_changed_again(self, api, admin):
        client = api(admin)

        first = client.post(URL, DEMO, format="json")
        again = client.post(URL, DEMO, format="json")
        other = client.post(URL, {**DEMO, "name": "Other"}, format="json")
        published = client.post(f"{URL}/demo/publish", {}, format="json")
        same = client.post(URL, {**DEMO, "name": "Other"}, format="json")
        changed = client.post(URL, DEMO, format="json")

        assert (first.status_code, first["ETag"]) == (201, '"v1"')
        assert (again.status_code, again["ETag"]) == (200, '"v1"')
        assert (other.status_code, other["ETag"]) == (200, '"v2"')
        assert (published.status_code, published.json()["state"]) == (200, "published")
        assert same.status_code == 200
        assert (changed.status_code, changed.json()["code"]) == (409, "version_immutable")
        kinds = set(Event.objects.values_list("kind", flat=True))
        assert {"orchestrator.pattern.registered", "orchestrator.pattern.published"} <= kinds

    def test_yaml_is_the_same_pattern(self, api, admin):
        text = yaml.safe_dump(DEMO)

        made = api(admin).post(URL, text, content_type="application/yaml")
        exported = api(admin).get(f"{URL}/demo/export")
        back = api(admin).post(URL, exported.content, content_type="application/yaml")

        assert made.status_code == 201
        assert exported.content.decode() == text
        assert exported["Content-Disposition"] == 'attachment; filename="demo-1.0.0.yaml"'
        assert (back.status_code, back.json()["content_hash"]) == (200, made.json()["content_hash"])
        assert made.json()["content_hash"] == services.read_pattern(json.dumps(DEMO))[1]

    def test_all_faults_come_back_with_their_paths(self, api, admin):
        bad = {**DEMO, "extra": 1, "version": "x"}

        for path in (URL, f"{URL}/validate"):
            answer = api(admin).post(path, bad, format="json")
            assert (answer.status_code, answer.json()["code"]) == (400, "pattern_invalid")
            assert [e["path"] for e in answer.json()["errors"]] == ["extra", "version"]
        assert not ExecutionPattern.objects.exists()

    def test_validating_answers_the_normal_form_and_stores_nothing(self, api, viewer):
        answer = api(viewer).post(f"{URL}/validate", DEMO, format="json")

        assert answer.status_code == 200
        assert answer.json()["normal"]["steps"][1]["on_error"] == "fail"
        assert not ExecutionPattern.objects.exists()

    @pytest.mark.parametrize(
        ("body", "kind", "status", "code"),
        [
            ("{", "application/json", 400, "pattern_invalid"),
            (b"\xff", "application/json", 400, "invalid"),
            ("x" * 300_000, "application/yaml", 400, "pattern_invalid"),
            ("[" * 200_000, "application/yaml", 400, "pattern_invalid"),
            ("", "application/json", 400, "invalid"),
            ("a", "text/html", 415, "unsupported_media_type"),
        ],
        ids=["open", "no text", "large", "deep", "empty", "html"],
    )
    def test_what_is_no_pattern_file_is_refused(self, api, admin, body, kind, status, code):
        answer = api(admin).post(URL, body, content_type=kind)

        assert (answer.status_code, answer.json()["code"]) == (status, code)

    def test_the_highest_published_version_is_shown_and_all_are_listed(self, api, admin, viewer):
        for version in ("1.9.0", "1.10.0", "2.0.0"):
            api(admin).post(URL, {**DEMO, "version": version}, format="json")
        for version in ("1.10.0", "1.9.0"):
            api(admin).post(f"{URL}/demo/publish", {"version": version}, format="json")

        client = api(viewer)
        assert client.get(f"{URL}/demo").json()["version"] == "1.10.0"
        assert client.get(f"{URL}/demo?version=2.0.0").json()["state"] == "draft"
        versions = client.get(f"{URL}/demo/versions").json()["results"]
        assert [v["version"] for v in versions] == ["2.0.0", "1.10.0", "1.9.0"]
        listed = client.get(f"{URL}?state=published").json()["results"]
        assert {p["version"] for p in listed} == {"1.9.0", "1.10.0"}

    def test_a_deprecated_version_starts_nothing_more(self, api, admin, published):
        answer = api(admin).post(f"{URL}/demo/deprecate", {}, format="json")
        again = api(admin).post(f"{URL}/demo/deprecate", {}, format="json")

        assert answer.json()["state"] == "deprecated"
        assert (again.status_code, again.json()["code"]) == (409, "illegal_transition")
        with pytest.raises(services.patterns.PatternNotFound):
            services.start_run(pattern="demo", inputs={"n": 1}, actor=admin)

    def test_scopes_and_teams_are_kept_apart(self, api, admin, lead, viewer, outsider, published):
        assert api(viewer).post(URL, DEMO, format="json").status_code == 403
        assert api(lead).post(URL, DEMO, format="json").status_code == 403
        assert api(lead).post(f"{URL}/demo/publish", {}, format="json").status_code == 403
        assert api(outsider).get(f"{URL}/demo").status_code == 404
        assert api(outsider).get(f"{URL}/demo").json()["code"] == "pattern_not_found"
        assert api(outsider).get(URL).json()["results"] == []
        assert api().get(URL).status_code == 401

    def test_shipped_patterns_serve_every_team_and_belong_to_none(self, api, admin, tmp_path):
        (tmp_path / "demo.json").write_text(json.dumps(DEMO))

        assert services.seed_patterns(directory=tmp_path) == 1
        assert services.seed_patterns(directory=tmp_path) == 0

        shown = api(admin).get(f"{URL}/demo").json()
        assert (shown["shipped"], shown["state"]) == (True, "published")
        refused = api(admin).post(f"{URL}/demo/deprecate", {}, format="json")
        assert (refused.status_code, refused.json()["code"]) == (409, "immutable")
        (tmp_path / "demo.json").write_text(json.dumps({**DEMO, "name": "Changed"}))
        with pytest.raises(services.patterns.PatternFrozen):
            services.seed_patterns(directory=tmp_path)
        assert services.seed_patterns(directory=tmp_path, strict=False) == 0
        assert api(admin).get(f"{URL}/demo").json() == shown

    def test_a_repeated_key_stores_once(self, api, admin):
        answers = [
            api(admin).post(URL, DEMO, format="json", headers={"Idempotency-Key": "k1"})
            for _ in range(2)
        ]

        assert [a.status_code for a in answers] in ([201, 201], [201, 200])


class TestDryRun:
    def rehearse(self, api, actor, **body):
        answer = api(actor).post(f"{URL}/demo/dry-run", body, format="json")
        assert answer.status_code == 200
        return answer.json()

    def test_it_follows_the_plan_and_writes_nothing(self, api, viewer, published):
        before = [Event.objects.count(), PatternRun.objects.count(), StepRun.objects.count()]

        told = self.rehearse(api, viewer, inputs={"n": 3}, fixtures={"a": {"n": 5}})

        assert told["valid"]
        assert [
            (item["step"], item["args"], item["would_run"], item["result_source"])
            for item in told["plan"]
        ] == [("a", {"n": 3}, True, "fixture"), ("b", {"n": 5}, True, "unknown")]
        assert told["critical_path"] == ["a", "b"]
        assert told["forecast"]["basis"] == "none"
        after = [Event.objects.count(), PatternRun.objects.count(), StepRun.objects.count()]
        assert after[1:] == before[1:]

    def test_a_condition_that_would_be_false_skips_and_an_unknown_one_says_so(
        self, api, viewer, published
    ):
        skipped = self.rehearse(api, viewer, inputs={"n": 3}, fixtures={"a": {"n": 0}})
        unknown = self.rehearse(api, viewer, inputs={"n": 3})

        assert [item["would_run"] for item in skipped["plan"]] == [True, False]
        assert skipped["critical_path"] == ["a"]
        assert [item["would_run"] for item in unknown["plan"]] == [True, None]
        assert unknown["plan"][1]["args"] is None

    def test_bad_inputs_and_fixtures_are_listed(self, api, viewer, published):
        told = self.rehearse(api, viewer, inputs={"m": 1}, fixtures={"zz": {}})

        assert not told["valid"]
        assert [e["path"] for e in told["errors"]] == ["inputs.m", "inputs.n", "fixtures.zz"]

    def test_measured_calls_make_the_forecast(self, api, viewer, run):
        for milliseconds, step_id in [(10, "a"), (30, "b")]:
            taken = run if run.state == "running" else runs.take_run(run_id=run.pk)
            steps.begin_step(run=taken, step_id=step_id, args={})
            steps.finish_step(
                run=taken,
                step_id=step_id,
                result={"n": 7},
                metadata={"duration_ms": milliseconds},
            )
            run = taken

        told = self.rehearse(api, viewer, inputs={"n": 3})

        assert told["plan"][1]["args"] == {"n": 7}
        assert told["plan"][0]["result_source"] == "recorded"
        assert told["forecast"]["basis"] == "measured"
        assert told["forecast"]["duration_ms"] == {"p50": 20, "p90": 60}


class TestRuns:
    def test_a_run_shows_its_facts_steps_and_trace(self, api, viewer, run):
        client = api(viewer)

        shown = client.get(f"/api/v1/runs/{run.pk}").json()
        steps = client.get(f"/api/v1/runs/{run.pk}/steps").json()["results"]
        trace = client.get(f"/api/v1/runs/{run.pk}/trace").json()

        assert (shown["pattern"], shown["state"], shown["inputs"]) == ("demo", "queued", {"n": 3})
        assert shown["progress"] == {"ended": 0, "total": 2}
        assert shown["ctx"]["pricing_pack_id"].startswith("PP_")
        assert [s["step_id"] for s in steps] == ["a", "b"]
        assert [s["status"] for s in trace["steps"]] == ["pending", "pending"]
        assert [r["id"] for r in client.get("/api/v1/runs?pattern=demo").json()["results"]] == [
            str(run.pk)
        ]
        assert client.get("/api/v1/runs?state=failed").json()["results"] == []
        assert client.get("/api/v1/runs?color=red").json()["code"] == "bad_filter"

    def test_strangers_see_nothing(self, api, outsider, run):
        for path in ("", "/steps", "/trace"):
            assert api(outsider).get(f"/api/v1/runs/{run.pk}{path}").status_code == 404
        assert api(outsider).get("/api/v1/runs").json()["results"] == []

    def test_cancelling_needs_a_reason_and_the_right_over_it(self, api, lead, agent, viewer, run):
        path = f"/api/v1/runs/{run.pk}/cancel"

        assert api(viewer).post(path, {"reason": "because"}, format="json").status_code == 403
        assert api(agent).post(path, {"reason": "because"}, format="json").status_code == 403
        assert api(lead).post(path, {}, format="json").status_code == 400
        assert api(lead).post(
            f"/api/v1/runs/{uuid7()}/cancel", {"reason": "because"}, format="json"
        ).status_code == 404  # fmt: skip

        done = api(lead).post(path, {"reason": "because"}, format="json")
        again = api(lead).post(path, {"reason": "because"}, format="json")

        assert (done.status_code, done.json()["state"]) == (200, "cancelled")
        assert (again.status_code, again.json()["code"]) == (409, "illegal_transition")
        assert set(run.steps.values_list("state", "reason")) == {("cancelled", "because")}

    def test_an_ended_run_can_be_asked_again(self, api, lead, viewer, run):
        path = f"/api/v1/runs/{run.pk}/rerun"

        early = api(lead).post(path, {}, format="json")
        services.cancel_run(run_id=run.pk, actor=lead, reason="changed my mind")
        denied = api(viewer).post(path, {}, format="json")
        again = api(lead).post(path, {}, format="json")

        assert (early.status_code, early.json()["code"]) == (409, "illegal_transition")
        assert denied.status_code == 403
        assert (again.status_code, again.json()["state"]) == (202, "queued")
        assert again.json()["parent_run"] == str(run.pk)
        assert again.json()["inputs"] == {"n": 3}
        assert PatternRun.objects.get(pk=again.json()["id"]).has_own_job

    def test_inputs_are_checked_before_anything_is_written(self, published, lead):
        with pytest.raises(runs.DomainError) as refused:
            services.start_run(pattern="demo", inputs={"n": "x"}, actor=lead)

        assert refused.value.code == "pattern_inputs_invalid"
        assert not PatternRun.objects.exists()
