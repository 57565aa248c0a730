"""Webhooks on their real way: relay, job, worker, TLS, and a program that checks the signature."""

import base64
import hashlib
import json
import logging
import re
import time
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connection, transaction
from django.utils import timezone

from guardian import courier, egress, events, jobs, outbox, relay, services
from guardian.models import Event, Webhook, WebhookDelivery
from guardian.signatures import secret_of
from tests.e2e.processes import Processes
from tests.guardian import traps


@pytest.fixture
def authority(tmp_path, monkeypatch):
    """This process trusts it for the time of the test, by the means an operator has for his own."""
    made = traps.authority(tmp_path, "hooks.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    egress._authorities.cache_clear()
    yield made
    egress._authorities.cache_clear()


@pytest.fixture
def server(authority, settings):
    with traps.listener(authority.server) as made:
        settings.EGRESS_ALLOW = [f"127.0.0.1:{made.port}"]
        yield made


def make(actor, server, kinds=("guardian.lock.*",)) -> Webhook:
    url = f"https://127.0.0.1:{server.port}/in?key=path-canary"
    webhook, _ = services.create_webhook(actor=actor, name="ci", url=url, kinds=list(kinds))
    return webhook


def happen(actor, **data) -> Event:
    with transaction.atomic():
        return outbox.emit(events.LOCK_RELEASED, actor=actor, **data)


def recipe() -> dict[str, Any]:
    """The recipe's own Python, run as a reader would run it."""
    text = (Path(django_settings.BASE_DIR) / "docs/recipes/webhooks.md").read_text()
    found = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert found is not None
    scope: dict[str, Any] = {}
    exec(compile(found[1], "docs/recipes/webhooks.md", "exec"), scope)  # noqa: S102  our own text
    return scope


@pytest.mark.django_db
class TestCourier:
    def test_what_arrives_passes_the_check_of_the_recipe(self, admin, server):
        webhook = make(admin, server)
        event = happen(admin, resource_id="bay 3")
        relay.run_once()

        assert jobs.deliver_webhook(str(webhook.pk)) == 1

        heard = server.heard[0]
        secret = secret_of(webhook.pk, 1)
        assert recipe()["verified"](secret, heard.headers, heard.body)
        assert not recipe()["verified"](secret, heard.headers, heard.body + b" ")
        assert not recipe()["verified"](secret_of(webhook.pk, 2), heard.headers, heard.body)
        old = {**heard.headers, "webhook-timestamp": str(int(time.time()) - 301)}
        assert not recipe()["verified"](secret, old, heard.body)
        assert heard.headers["webhook-id"] == str(event.pk)
        assert heard.headers["content-type"] == "application/json"
        assert json.loads(heard.body)["data"]["data"] == {"resource_id": "bay 3"}
        row = WebhookDelivery.objects.get()
        assert (row.state, row.response_status, row.attempt) == ("done", 204, 1)
        assert row.duration_ms > 0

    def test_after_a_rotation_old_and_new_secret_pass(self, admin, server):
        webhook = make(admin, server)
        services.rotate_webhook_secret(actor=admin, webhook_id=webhook.pk)
        happen(admin)
        relay.run_once()

        courier.deliver_due(webhook.pk)

        heard = server.heard[0]
        assert len(heard.headers["webhook-signature"].split(" ")) == 2
        for generation in (1, 2):
            secret = secret_of(webhook.pk, generation)
            assert recipe()["verified"](secret, heard.headers, heard.body)

    @pytest.mark.parametrize(
        ("status", "said"),
        [(500, "It answered 500."), (302, "redirects are not followed"), (404, "It answered 404.")],
    )
    def test_any_other_answer_is_tried_again_with_the_same_id_and_body(
        self, admin, server, status, said
    ):
        webhook = make(admin, server)
        happen(admin)
        relay.run_once()
        server.reply = lambda _: (status, {"Location": "https://127.0.0.1/"}, b"")

        courier.deliver_due(webhook.pk)
        failed = WebhookDelivery.objects.get()
        WebhookDelivery.objects.update(next_at=timezone.now())
        server.reply = lambda _: (200, {}, b"ok")
        courier.deliver_due(webhook.pk)

        assert said in failed.error
        assert (failed.state, failed.response_status) == ("pending", status)
        first, second = server.heard
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        assert first.body == second.body
        assert WebhookDelivery.objects.get().state == "done"

    def test_an_address_that_became_private_is_not_called(self, admin, server, settings):
        webhook = make(admin, server)
        happen(admin)
        relay.run_once()
        settings.EGRESS_ALLOW = []

        courier.deliver_due(webhook.pk)

        assert server.heard == []
        row = WebhookDelivery.objects.get()
        assert (row.state, row.response_status) == ("pending", None)
        assert "not allowed" in row.error

    def test_many_go_one_after_the_other_in_one_round(self, admin, server):
        webhook = make(admin, server)
        for number in range(20):
            happen(admin, number=number)
        relay.run_once()

        assert courier.deliver_due(webhook.pk) == 20

        numbers = [json.loads(heard.body)["data"]["data"]["number"] for heard in server.heard]
        assert numbers == list(range(20))

    def test_a_round_that_ends_early_calls_for_the_rest(self, admin, server, monkeypatch):
        webhook = make(admin, server)
        happen(admin)
        relay.run_once()
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM procrastinate_jobs")
        monkeypatch.setattr(courier, "ROUND_SECONDS", 0.0)

        assert courier.deliver_due(webhook.pk) == 0

        with connection.cursor() as cursor:
            cursor.execute("SELECT task_name, args->>'webhook_id' FROM procrastinate_jobs")
            assert cursor.fetchall() == [("guardian.deliver_webhook", str(webhook.pk))]

    def test_logs_hold_no_secret_signature_or_path(self, admin, server, caplog):
        caplog.set_level(logging.DEBUG)
        webhook = make(admin, server)
        happen(admin)
        relay.run_once()

        courier.deliver_due(webhook.pk)
        server.reply = lambda _: (500, {}, b"")
        happen(admin)
        relay.run_once()
        courier.deliver_due(webhook.pk)

        written = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
        assert "webhook_sent" in written
        secret = secret_of(webhook.pk, 1)
        digest = hashlib.sha256(base64.b64decode(secret.removeprefix("whsec_"))).hexdigest()
        signatures = [heard.headers["webhook-signature"] for heard in server.heard]
        for canary in [secret, secret.removeprefix("whsec_"), digest, *signatures]:
            assert canary not in written
        assert "path-canary" not in "\n".join(
            f"{record.name} {record.getMessage()}"
            for record in caplog.records
            if record.levelno >= logging.INFO
        )


@pytest.mark.django_db(transaction=True)
def test_nothing_waits_in_a_transaction_while_the_other_side_thinks(admin, server):
    idle: list[int] = []

    def reply(_: traps.Heard) -> traps.Reply:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND state = 'idle in transaction' AND pid <> pg_backend_pid()"
            )
            idle.append(cursor.fetchone()[0])
        connection.close()
        return 204, {}, b""

    server.reply = reply
    webhook = make(admin, server)
    happen(admin)
    relay.run_once()

    courier.deliver_due(webhook.pk)

    assert idle == [0]


def wait_until(true, processes, seconds=90.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, processes.logs()
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.django_db(transaction=True)
class TestProcesses:
    @pytest.fixture
    def processes(self, tmp_path):
        made = Processes(tmp_path)
        yield made
        made.end()

    def test_an_event_reaches_the_other_side_though_the_worker_dies_while_sending(
        self, admin, server, tmp_path, processes
    ):
        """Killed in mid-flight; the next worker finds the row when its lease is over."""
        here = {
            "LEMNOS_EGRESS_ALLOW": f"127.0.0.1:{server.port}",
            "LEMNOS_WEBHOOK_KEY": django_settings.WEBHOOK_KEY,
            "LEMNOS_SECRET_KEY": django_settings.SECRET_KEY,
            "LEMNOS_TOKEN_PEPPERS": "t1:" + "00" * 32,
            "SSL_CERT_FILE": str(tmp_path / "certificate.pem"),
            "LEMNOS_LOG_LEVEL": "debug",
            "LEMNOS_LOG_FORMAT": "json",
        }
        webhook = make(admin, server)
        victims: list[Any] = []

        def die(_: traps.Heard) -> traps.Reply:
            if victims:
                processes.kill(victims.pop())
                return 500, {}, b""
            return 204, {}, b""

        server.reply = die
        victims.append(processes.start("worker", **here))
        processes.start("relay", **here)
        event = happen(admin, resource_id="bay 3")

        wait_until(lambda: len(server.heard) == 1 and not victims, processes)
        lost = WebhookDelivery.objects.get()
        processes.start("worker", **here)
        wait_until(lambda: WebhookDelivery.objects.get().state == "done", processes, 150.0)

        assert (lost.state, lost.attempt) == ("pending", 1)
        first, second = server.heard
        assert first.headers["webhook-id"] == second.headers["webhook-id"] == str(event.pk)
        assert first.body == second.body
        assert recipe()["verified"](secret_of(webhook.pk, 1), second.headers, second.body)
        assert WebhookDelivery.objects.get().attempt == 2
        written = "".join(path.read_text() for path in tmp_path.glob("*.log"))
        assert "webhook_sent" in written
        for canary in (secret_of(webhook.pk, 1)[6:], second.headers["webhook-signature"][3:]):
            assert canary not in written
        assert "path-canary" not in written
