"""The event log proves itself: in the database, in its archive, in an export."""

import csv
import hashlib
import io
import json
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from guardian import audit, outbox, relay, services
from guardian.chain import LedgerBroken
from guardian.jobs import archive_events, check_ledger
from guardian.models import Delivery, ErrorLog, Event
from guardian.redaction import REDACTED
from tests import factories

OLD = timedelta(days=400)


@pytest.fixture
def told(team):
    """Ten numbered events beside those of the team's own making."""
    for number in range(10):
        outbox.emit(
            "phases.test.happened",
            team_id=team.pk,
            number=number,
            ratio=0.1 * number,
            text='ü\u2028 "x"',
            before={"a": None},
            after={"a": [1, {"b": True}]},
            reason="because",
        )
    relay.run_once()
    return list(Event.objects.stamped())


@pytest.fixture
def forced():
    """SQL past the triggers, as only a superuser may."""

    def run(statement, *arguments):
        with connection.cursor() as cursor:
            cursor.execute("SET session_replication_role = replica")
            cursor.execute(statement, arguments)
            cursor.execute("SET session_replication_role = DEFAULT")

    return run


def verified(capsys, *arguments) -> str:
    call_command("audit_verify", *arguments)
    return capsys.readouterr().out


def aged(team, *, days):
    """Events as they were written so long ago."""
    for number in range(5):
        Event.objects.create(
            team=team,
            kind="phases.test.happened",
            data={"number": number},
            created_at=timezone.now() - timedelta(days=days) + timedelta(seconds=number),
        )


@pytest.mark.django_db
class TestVerify:
    def test_names_count_and_head(self, told, capsys):
        said = verified(capsys)

        assert said.startswith(f"{len(told)} events (1 to {told[-1].seq}), head {told[-1].hash}")

    def test_reads_page_by_page(self, told, monkeypatch, django_assert_num_queries):
        monkeypatch.setattr(audit, "PAGE", 4)

        with django_assert_num_queries(3 + len(told) // 4 + 1):
            assert audit.verify().count == len(told)

    @pytest.mark.parametrize(
        "change",
        [
            "data = '{}'", "reason = 'other'", "kind = 'phases.test.denied'", "priority = 1",
            "actor_id = NULL, subject_id = 'x'", "before = NULL", "after = '{\"a\": 1}'",
            "request_id = 'r'", "created_at = created_at + interval '1 microsecond'",
            "team_id = NULL", "hash = repeat('a', 64)", "prev_hash = repeat('a', 64)",
        ],
    )  # fmt: skip
    def test_names_the_first_row_that_was_changed(self, told, forced, change):
        victim = next(event for event in told if event.data.get("number") == 5)
        statement = f"UPDATE guardian_event SET {change} WHERE seq = %s"  # noqa: S608  written above
        forced(statement, victim.seq)

        with pytest.raises(CommandError, match=rf"number {victim.seq}\b") as failed:
            call_command("audit_verify")

        assert failed.value.returncode == 1

    @pytest.mark.parametrize("place", [0, 3, -2])
    def test_names_the_first_row_that_is_missing(self, told, forced, place):
        victim = told[place]
        Delivery.objects.all().delete()
        forced("DELETE FROM guardian_event WHERE seq = %s", victim.seq)

        with pytest.raises(LedgerBroken) as broken:
            audit.verify()

        assert broken.value.seq == victim.seq

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE guardian_event SET data = '{}'",
            "UPDATE guardian_event SET seq = seq + 1",
            "UPDATE guardian_event SET hash = ''",
            "UPDATE guardian_event SET seq = NULL",
            "DELETE FROM guardian_event",
            # Only what is checked can be emptied: the rows told of above are new.
            "SET CONSTRAINTS ALL IMMEDIATE; TRUNCATE guardian_event CASCADE",
        ],
    )
    def test_the_database_itself_refuses_both(self, told, statement):
        with (
            pytest.raises(DatabaseError, match="append-only"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)

    @pytest.mark.parametrize("stamp", [{"seq": 10**6}, {"hash": "a" * 64}, {"prev_hash": "a" * 64}])
    def test_nothing_comes_in_with_a_number_or_a_hash(self, team, stamp):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            Event.objects.create(
                team=team, kind="phases.test.happened", created_at=timezone.now(), **stamp
            )

    def test_names_the_first_of_the_newest_that_are_gone_though_delivered(self, told, forced):
        newest = told[-1]
        Delivery.objects.get_or_create(
            event=newest, handler="x",
            defaults={
                "state": "done", "seq": newest.seq, "next_at": timezone.now(),
                "queued_at": timezone.now(),
            },
        )  # fmt: skip
        forced("DELETE FROM guardian_event WHERE seq > %s", told[-4].seq)

        with pytest.raises(LedgerBroken) as broken:
            audit.verify()

        assert broken.value.seq == told[-3].seq
        assert f"{newest.seq} was delivered" in str(broken.value)
        forced("DELETE FROM guardian_delivery")  # hangs on nothing now

    def test_each_night_a_broken_one_becomes_a_critical_error(self, told, forced):
        assert check_ledger(0)
        forced("UPDATE guardian_event SET reason = 'x' WHERE seq = %s", told[4].seq)

        assert not check_ledger(0)

        error = ErrorLog.objects.get(component="guardian.ledger")
        assert error.severity == "critical"
        assert f"number {told[4].seq}" in error.error_message
        event = Event.objects.get(kind="guardian.ledger.broken")
        assert (event.priority, event.data["seq"]) == (1, told[4].seq)


@pytest.fixture
def data_dir(settings, tmp_path):
    settings.DATA_DIR = tmp_path
    return tmp_path


@pytest.mark.django_db
class TestArchive:
    @pytest.fixture
    def old(self, team):
        """Five events of long ago before the team's own of today."""
        before = Event.objects.unstamped().count()
        aged(team, days=400)
        relay.stamp()
        assert before
        relay.run_once()
        return list(Event.objects.filter(seq__lte=5).order_by("seq"))

    def test_moves_old_events_and_their_deliveries_to_a_file_that_proves_itself(
        self, old, data_dir, capsys, hear
    ):
        Delivery.objects.create(
            event=old[0], handler="x", state="parked", seq=1,
            next_at=timezone.now(), queued_at=timezone.now(),
        )  # fmt: skip
        newest = Event.objects.stamped().last()

        assert archive_events(0) == 1
        relay.run_once()

        (path,) = (data_dir / "archive").iterdir()
        assert path.name == "events-000000000001-000000000005.jsonl"
        assert path.stat().st_mode & 0o777 == 0o600
        assert not Event.objects.filter(pk__in=[event.pk for event in old]).exists()
        assert not Delivery.objects.filter(seq=1, handler="x").exists()
        mark = Event.objects.get(kind="guardian.ledger.archived")
        assert mark.data == {
            "from_seq": 1,
            "to_seq": 5,
            "last_hash": old[-1].hash,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "file": path.name,
        }
        assert f"5 events (1 to 5), head {old[-1].hash}" in verified(capsys, "--archive", str(path))
        assert f"({6} to {mark.seq})" in verified(capsys)
        assert mark.seq > newest.seq

    def test_what_is_archived_while_somebody_verifies_is_not_missing(
        self, old, data_dir, monkeypatch
    ):
        begin = audit.begin

        def overtaken():
            monkeypatch.setattr(audit, "begin", begin)
            found = begin()
            archive_events(timestamp=0)
            relay.run_once()
            return found

        monkeypatch.setattr(audit, "begin", overtaken)

        proof = services.check_ledger()

        assert proof is not None
        assert proof.from_seq > 1
        assert not ErrorLog.objects.exists()

    def test_numbers_go_on_where_everything_was_archived(self, old, data_dir, capsys):
        newest = Event.objects.stamped().last()

        services.archive_old_events(now=timezone.now() + OLD)
        relay.run_once()

        mark = Event.objects.stamped().first()
        assert mark.kind == "guardian.ledger.archived"
        assert (mark.seq, mark.prev_hash) == (newest.seq + 1, newest.hash)
        assert f"({mark.seq} to " in verified(capsys)

    def test_a_second_archive_goes_on_where_the_first_ended(self, old, data_dir, capsys):
        services.archive_old_events(most=2)
        relay.run_once()

        names = sorted(path.name for path in (data_dir / "archive").iterdir())
        assert [name[7:32] for name in names] == [
            "000000000001-000000000002",
            "000000000003-000000000004",
            "000000000005-000000000005",
        ]
        assert "(6 to " in verified(capsys)
        for name in names:
            verified(capsys, "--archive", str(data_dir / "archive" / name))

    @pytest.mark.parametrize("change", ["content", "line", "end", "begin", "rubbish", "empty"])
    def test_a_changed_file_is_found(self, old, data_dir, change):
        services.archive_old_events()
        (path,) = (data_dir / "archive").iterdir()
        lines = path.read_text().splitlines(keepends=True)
        changed = {
            "content": [*lines[:2], lines[2].replace('"number":2', '"number":3'), *lines[3:]],
            "line": [*lines[:2], *lines[3:]],
            "end": lines[:-1],
            "begin": lines[1:],
            "rubbish": [*lines[:2], "{}\n", *lines[3:]],
            "empty": [],
        }[change]
        path.write_text("".join(changed))

        if change == "begin":  # whole in itself, but not as it was written
            assert audit.verify_archive(path).from_seq == 2
            return
        with pytest.raises(LedgerBroken) as broken:
            audit.verify_archive(path)
        wanted = {"content": 3, "line": 3, "end": 4, "rubbish": 3, "empty": 0}[change]
        assert broken.value.seq == wanted

    def test_a_broken_ledger_is_not_archived(self, old, data_dir, forced):
        forced("UPDATE guardian_event SET reason = 'x' WHERE seq = 3")

        assert services.archive_old_events() == []

        assert Event.objects.filter(seq__lte=5).count() == 5
        assert list((data_dir / "archive").iterdir()) == []
        assert ErrorLog.objects.get(component="guardian.ledger").severity == "critical"

    def test_what_is_young_stays_and_so_does_all_behind_it(self, old, data_dir, settings):
        settings.EVENT_RETENTION_DAYS = 401
        assert services.archive_old_events() == []

        settings.EVENT_RETENTION_DAYS = 0
        assert services.archive_old_events(now=timezone.now() + 10 * OLD) == []

    def test_work_that_is_not_done_keeps_its_event(self, old, data_dir):
        Delivery.objects.create(
            event=old[2], handler="x", seq=3, next_at=timezone.now(), queued_at=timezone.now()
        )

        services.archive_old_events()

        assert Event.objects.order_by("seq").values_list("seq", flat=True).first() == 3

    def test_a_deleted_prefix_is_found_after_an_archive_too(self, old, data_dir, forced):
        services.archive_old_events()
        Delivery.objects.all().delete()
        forced("DELETE FROM guardian_event WHERE seq = 6")

        with pytest.raises(LedgerBroken) as broken:
            audit.verify()

        assert broken.value.seq == 6


@pytest.mark.django_db
class TestExport:
    def test_jsonl_proves_itself(self, api, admin, told, tmp_path):
        answer = api(admin).get("/api/v1/events/export?format=jsonl")

        assert answer["Content-Disposition"] == 'attachment; filename="events.jsonl"'
        path = tmp_path / "events.jsonl"
        path.write_bytes(answer.getvalue())
        rows = [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]
        assert [row["seq"] for row in rows] == [event.seq for event in told if event.team_id]
        assert rows[-1]["hash"] == told[-1].hash

    @pytest.fixture
    def exported(self, api, admin, told, tmp_path):
        """The team's export; another team's events lie between its numbers."""
        outbox.emit("phases.test.happened", team_id=factories.make_team("reef").pk)
        outbox.emit("phases.test.happened", team_id=admin.team_id, late=True)
        relay.run_once()
        path = tmp_path / "events.jsonl"
        path.write_bytes(api(admin).get("/api/v1/events/export?format=jsonl").getvalue())
        return path

    def test_an_export_is_no_broken_archive(self, exported):
        with pytest.raises(CommandError) as refusal:
            call_command("audit_verify", "--archive", str(exported))

        assert refusal.value.returncode == 2
        assert "is broken" not in str(refusal.value)
        for words in ("export of one team", "archive/events-", "--export"):
            assert words in str(refusal.value)

    def test_an_export_is_proven_line_by_line(self, exported, capsys):
        lines = exported.read_bytes().splitlines()

        said = verified(capsys, "--export", str(exported))

        assert said.startswith(f"{len(lines)} events of one team, each as it was written")

    @pytest.mark.parametrize("option", ["--archive", "--export"])
    def test_a_changed_line_of_an_export_is_named(self, exported, option):
        rows = [json.loads(line) for line in exported.read_bytes().splitlines()]
        rows[4]["reason"] = "forged"
        exported.write_text("".join(json.dumps(row) + "\n" for row in rows))

        with pytest.raises(CommandError, match=f"broken at number {rows[4]['seq']}") as refusal:
            call_command("audit_verify", option, str(exported))

        assert refusal.value.returncode == 1

    def test_csv_is_a_table_without_formulas(self, api, admin, team):
        outbox.emit("phases.test.happened", team_id=team.pk, reason="=1+1", a='x,"y"\n')
        relay.run_once()

        answer = api(admin).get("/api/events/export?format=csv&kind=test.happened")

        assert answer["Content-Type"] == "text/csv; charset=utf-8"
        (row,) = csv.DictReader(io.StringIO(answer.getvalue().decode(), newline=""))
        assert json.loads(row["data"]) == {"a": 'x,"y"\n'}
        assert row["reason"] == "'=1+1"

    def test_shows_the_own_team_alone_and_needs_its_scope(self, api, lead, outsider, told):
        assert api(lead).get("/api/v1/events/export").json()["code"] == "scope_missing"
        foreign = api(outsider).get("/api/v1/events/export").getvalue().decode()
        assert "test.happened" not in foreign

    def test_refuses_another_format_or_filter(self, api, admin):
        for query in ("format=xml", "colour=red"):
            answer = api(admin).get(f"/api/v1/events/export?{query}")
            assert (answer.status_code, answer.json()["code"]) == (400, "bad_filter")


@pytest.mark.django_db
class TestRedaction:
    @pytest.mark.parametrize(
        "name",
        [
            "password", "PASSWORD", "db_password", "secret", "client_secret", "token",
            "access_token", "accessToken", "Authorization", "cookie", "Set-Cookie", "api_key",
            "x-api-key", "apiKey",
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("value", ["canary", ["canary"], {"deep": "canary"}])
    def test_values_under_telling_names_are_gone_however_deep(self, name, value):
        nested = {"a": [{"b": {name: value, "kept": 1}}]}
        event = outbox.emit_data(
            "phases.test.happened", data=nested, before=nested, after={name: value}
        )

        event = Event.objects.get(pk=event.pk)
        for found in (event.data, event.before):
            assert found == {"a": [{"b": {name: REDACTED, "kept": 1}}]}
        assert event.after == {name: REDACTED}

    def test_a_number_is_a_secret_too_unless_it_is_a_fence(self):
        event = outbox.emit_data("phases.test.happened", data={"password": 1234, "token": 7})

        assert Event.objects.get(pk=event.pk).data == {"password": REDACTED, "token": 7}

    def test_a_reason_names_no_token(self):
        said = "used lem_abcdefghijkl.0123456789abcdefghijklmno by mistake"
        event = outbox.emit("phases.test.happened", reason=said)

        assert Event.objects.get(pk=event.pk).reason == f"used {REDACTED} by mistake"
