"""/metrics: who may read it, what counts, and what can never become a label."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from guardian import metrics, relay, scraping, services
from guardian.models import ApiToken, Budget
from phases import services as phases
from phases.models import Ticket

NEAR = {"REMOTE_ADDR": "127.0.0.1"}
FAR = {"REMOTE_ADDR": "203.0.113.9"}
LEFT_OUT = {"execute_", "breaker_", "rights_denied_total"}


@pytest.fixture(autouse=True)
def _fresh_readings() -> Iterator[None]:
    scraping.forget()
    yield
    scraping.forget()


def series() -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    scraping.forget()
    answer = Client(**NEAR).get("/metrics")
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.content.decode())
        for sample in family.samples
    }


def value(name: str, **labels: str) -> float:
    return series().get((f"lemnos_{name}", tuple(sorted(labels.items()))), 0.0)


class TestWhoMayReadThem:
    def test_a_neighbour_needs_no_token(self, db):
        assert Client(**NEAR).get("/metrics").status_code == 200
        assert Client(REMOTE_ADDR="::1").get("/metrics").status_code == 200
        assert Client(REMOTE_ADDR="::ffff:127.0.0.1").get("/metrics").status_code == 200

    @pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP"])
    def test_a_proxy_beside_us_speaks_for_anybody(self, db, header):
        refused = Client(**NEAR).get("/metrics", headers={header: "127.0.0.1"})

        assert refused.status_code == 401
        assert refused.json()["code"] == "unauthorized"
        assert refused["WWW-Authenticate"].startswith("Bearer")

    def test_others_need_the_scope(self, api, admin, lead, viewer, agent):
        author = _person(admin.team, "anna", "author")
        expected = {None: 401, viewer: 403, author: 403, agent: 403, lead: 200, admin: 200}

        found = {who: api(who).get("/metrics", **FAR).status_code for who in expected}

        assert found == expected

    def test_a_session_counts_as_a_token_does(self, lead, viewer):
        for actor, status in ((lead, 200), (viewer, 403)):
            client = Client(**FAR)
            client.force_login(actor.user)

            assert client.get("/metrics").status_code == status

    def test_a_revoked_or_expired_token_opens_nothing(self, api, lead):
        client = api(lead)
        ApiToken.objects.update(revoked_at=timezone.now())

        assert client.get("/metrics", **FAR).json()["code"] == "token_revoked"

        ApiToken.objects.update(revoked_at=None, expires_at=timezone.now() - timedelta(seconds=1))
        assert client.get("/metrics", **FAR).json()["code"] == "token_expired"

    def test_the_setting_names_other_neighbours(self, db, settings):
        settings.METRICS_ALLOW = ["203.0.113.0/24"]

        assert Client(**FAR).get("/metrics").status_code == 200
        assert Client(**NEAR).get("/metrics").status_code == 401

    def test_nothing_is_written_there(self, db):
        assert Client(**NEAR).post("/metrics").status_code == 405


def _person(team, name, role):
    from tests.factories import make_actor

    return make_actor(team, name, role=role)


class TestLabels:
    def test_ten_thousand_tickets_add_no_series(self, team, lead, api):
        phases.seed_team(team=team)
        first = phases.open_ticket(actor=lead, title="one")
        client = api(lead)
        client.get(f"/api/v1/tickets/{first.pk}")
        series()  # a scrape is a request as well
        before = set(series())

        with (
            connection.cursor() as cursor
        ):  # without each row's triggers: the rows are all it needs
            cursor.execute("SET LOCAL session_replication_role = replica")
        tickets = Ticket.objects.bulk_create(
            [
                Ticket(
                    team=team, workflow=first.workflow, phase=first.phase, column=first.column,
                    number=first.number + 1 + n, title=f"t{n}", rank=f"{n:08d}",
                    created_by=lead.user, phase_entered_at=timezone.now(),
                )
                for n in range(10_000)
            ],
            batch_size=2000,
        )  # fmt: skip
        for ticket in tickets[:20]:
            client.get(f"/api/v1/tickets/{ticket.pk}")

        assert set(series()) - before == set()

    def test_a_route_is_its_template(self, api, lead):
        api(lead).get(f"/api/v1/tickets/{lead.id}")
        api(lead).get("/nowhere/at/all")
        api(lead).generic("BREW", "/api/v1/tickets")

        routes = {
            dict(labels).get("route"): dict(labels)["method"]
            for name, labels in series()
            if name == "lemnos_http_request_seconds_count"
        }
        assert not any(str(lead.id) in route for route in routes)
        assert "none" in routes
        assert "BREW" not in routes.values()

    def test_the_201st_value_is_other(self):
        counted = metrics.Count("cap_test_total", "for a test", "word")

        for number in range(250):
            counted.count(word=f"w{number}")

        samples = {
            sample.labels["word"]: sample.value
            for family in metrics.REGISTRY.collect()
            for sample in family.samples
            if sample.name == "lemnos_cap_test_total"
        }
        assert len(samples) == 201
        assert samples["other"] == 50
        metrics.REGISTRY.unregister(counted._made)

    def test_what_processes_know_together_is_capped_too(self):
        family = scraping.GaugeMetricFamily("lemnos_x", "x", labels=("word",))
        for number in range(230):
            family.add_metric((f"w{number:03d}",), 1.0)
        family.add_metric(("other",), 5.0)

        (capped,) = scraping._Capped([family]).collect()

        values = {sample.labels["word"]: sample.value for sample in capped.samples}
        assert len(values) == 201
        assert values["other"] == 35.0

    def test_a_wrong_label_is_a_fault_of_the_program(self):
        with pytest.raises(ValueError, match="labels"):
            metrics.EVENTS.count(app="phases")

    def test_the_names_are_those_of_the_list(self, db):
        named = {
            family.name.removeprefix("lemnos_") + ("_total" if family.type == "counter" else "")
            for family in metrics.REGISTRY.collect()
        } | {family for _, families in scraping._readers.values() for family in families}

        assert named == WANTED


WANTED = {
    "http_request_seconds", "pattern_runs_total", "pattern_step_seconds", "pack_fresh",
    "pack_build_seconds", "agent_calls_total", "agent_call_seconds", "agents",
    "tool_executions_total", "sandbox_start_seconds", "sandbox_active", "tasks",
    "task_claim_seconds", "task_wait_seconds", "leases_lost_total", "wip_ratio",
    "gate_results_total", "events_total", "relay_head_seq", "relay_lag_seconds", "deliveries",
    "delivery_seconds", "locks", "lock_waiters", "lock_wait_seconds", "ws_clients",
    "ws_dropped_total", "webhook_attempts_total", "jobs", "job_seconds",
    "memory_search_seconds", "guardian_actions_total", "cost_usd_total", "budget_used_ratio",
}  # fmt: skip


class TestStates:
    def test_they_are_read_from_the_database(self, team, lead):
        phases.seed_team(team=team)
        services.build_first_pack()
        Budget.objects.create(
            team=team, scope_type="team", limit=Decimal(10), spent=Decimal(4), reserved=Decimal(1)
        )
        before = value("tasks", status="pending")

        phases.open_ticket(actor=lead, title="one")

        assert value("tasks", status="pending") >= before
        assert value("budget_used_ratio", scope_type="team") == 0.5
        assert value("pack_fresh") == 1
        assert value("relay_lag_seconds") >= 0
        waiting = value("relay_head_seq")
        relay.run_once()
        assert value("relay_head_seq") > waiting
        assert value("relay_lag_seconds") == 0

    def test_locks_and_those_who_wait(self, team, lead, agent):
        named = {"resource_type": "device", "resource_id": "d1"}
        services.acquire_lock(actor=lead, **named)
        services.acquire_lock(actor=agent, **named)

        assert value("locks", mode="exclusive") == 1
        assert value("locks", mode="shared") == 0
        assert value("lock_waiters") == 1

    def test_a_reader_that_fails_leaves_a_gap_and_the_rest_stands(self, db, monkeypatch):
        def broken():
            scraping.rows_of("SELECT pg_sleep(5)")

        monkeypatch.setattr(scraping, "MOST_MILLISECONDS", 50)
        families = scraping._readers["phases.readings.tasks"][1]
        monkeypatch.setitem(scraping._readers, "phases.readings.tasks", (broken, families))

        names = {name for name, _ in series()}

        assert "lemnos_tasks" not in names
        assert "lemnos_relay_head_seq" in names

    def test_one_scrape_is_few_statements(self, db, django_assert_max_num_queries):
        scraping.forget()

        # Six readers: a savepoint, a time limit and one or two statements each.
        with django_assert_max_num_queries(32):
            Client(**NEAR).get("/metrics")
        with django_assert_max_num_queries(0):
            Client(**NEAR).get("/metrics")


CHILD = """
import os, sys, django
django.setup()
from guardian import metrics
for _ in range(int(sys.argv[1])):
    metrics.EVENTS.count(app="phases", priority="normal")
    metrics.TASK_CLAIM_SECONDS.observe(0.002)
metrics.WS_CLIENTS.change(3)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
def test_four_processes_are_summed_and_a_dead_ones_sockets_are_gone(tmp_path):
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, str(times)],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for times in (1, 20, 300, 4000)
    ]  # fmt: skip
    for process in started:
        assert process.stdout.readline() == "ready\n"
    started[0].kill()
    started[0].wait()

    reader = (
        "import django; django.setup()\n"
        "from guardian import scraping\n"
        "scraping._readers.clear()\n"
        "print(scraping.scrape().decode())"
    )
    text = subprocess.run(
        [sys.executable, "-c", reader], env=environment, capture_output=True, text=True, check=True
    ).stdout

    for process in started:
        process.communicate(timeout=10)
    assert 'lemnos_events_total{app="phases",priority="normal"} 4321.0' in text
    assert "lemnos_task_claim_seconds_count 4321.0" in text
    assert 'lemnos_task_claim_seconds_bucket{le="0.0025"} 4321.0' in text
    assert "lemnos_ws_clients 9.0" in text


def test_without_its_directory_a_process_counts_for_itself(tmp_path):
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "gone")}
    program = (
        "import django; django.setup()\n"
        "from guardian import metrics, scraping\n"
        "scraping._readers.clear()\n"
        "metrics.LEASES_LOST.count()\n"
        "print(scraping.scrape().decode())"
    )

    text = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    ).stdout

    assert "lemnos_leases_lost_total 1.0" in text
