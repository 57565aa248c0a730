"""Backups: one snapshot, proved elsewhere, refused where something is already."""

import json
import os
import shutil
import subprocess
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from guardian import events, jobs, outbox, relay
from guardian.backups import contents, keeping, making, programs, restoring, routine, verifying
from guardian.errors import BackupDamaged, BackupFailed, BackupToolMissing, DatabaseNotEmpty
from guardian.models import ErrorLog, Event
from memory import services as memory
from memory.embeddings import provider


def fill(actor, count=30) -> None:
    for number in range(count):
        with transaction.atomic():
            outbox.emit(events.LOCK_RELEASED, actor=actor, number=number, text="Zürich „☂“")
    relay.run_once()


@pytest.fixture
def empty():
    """psycopg's parameters of a new database beside the test's own."""
    parameters = dict(connection.get_connection_params())
    name = f"{parameters['dbname']}_restored"
    plain = {k: v for k, v in parameters.items() if k in {"host", "port", "user", "password"}}
    with closing(psycopg.connect(**plain, dbname="postgres", autocommit=True)) as admin:
        admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        admin.execute(f'CREATE DATABASE "{name}"')
        yield {**plain, "dbname": name}
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


class Writers:
    """Threads that write until told to stop."""

    def __init__(self, actor, count: int) -> None:
        self.stop = threading.Event()
        self.written = [0] * count
        self.threads = [threading.Thread(target=self.run, args=(actor, n)) for n in range(count)]

    def run(self, actor, number: int) -> None:
        while not self.stop.is_set():
            with transaction.atomic():
                outbox.emit(events.LOCK_RELEASED, actor=actor, writer=number)
            self.written[number] += 1
        connection.close()

    def __enter__(self) -> "Writers":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
class TestBackup:
    def test_under_load_it_is_one_moment_and_restores_equal(self, admin, tmp_path, empty):
        fill(admin)
        with Writers(admin, 3) as writers:
            while min(writers.written) < 5:
                relay.stamp()
            made = making.make(tmp_path)
            during = sum(writers.written)
            relay.stamp()

        manifest = restoring.restore(made, empty)

        told = manifest["tables"]["public.guardian_event"]
        assert 45 <= told["rows"] <= Event.objects.count()
        assert during > 15
        with contents.session(empty) as reading:
            assert contents.tables(reading) == manifest["tables"]
            assert contents.ledger_head(reading) == manifest["ledger"]

    def test_is_private_whole_and_says_what_it_holds(self, admin, tmp_path, settings):
        settings.TOKEN_PEPPERS = {"p7": os.urandom(32)}
        settings.WEBHOOK_KEY = os.urandom(32).hex()  # not the zeros that a chain begins with
        fill(admin)
        out = StringIO()

        call_command("backup", to=tmp_path / "kept", stdout=out)

        made = Path(out.getvalue().strip())
        assert sorted(path.name for path in made.iterdir()) == [
            "SHA256SUMS", "database.dump", "manifest.json",
        ]  # fmt: skip
        assert {path.stat().st_mode & 0o077 for path in (made, *made.iterdir())} == {0}
        manifest = json.loads((made / "manifest.json").read_text())
        assert manifest["version"] == "0.1.0"
        assert "guardian.0001_initial" in manifest["migrations"]
        assert manifest["ledger"] == dict(zip(("seq", "hash"), relay.head(), strict=True))
        assert manifest["pepper_ids"] == ["p7"]
        assert manifest["tables"]["public.guardian_event"]["rows"] == Event.objects.count()
        assert manifest["dump"]["sha256"] == making.sha256_of(made / "database.dump")
        tool = programs.program("pg_restore", server_version=manifest["postgres"])
        dumped = subprocess.run(
            [tool, "--file=-", str(made / "database.dump")], check=True, capture_output=True
        ).stdout
        assert "Zürich „☂“".encode() in dumped
        pepper = next(iter(settings.TOKEN_PEPPERS.values())).hex()
        for secret in (settings.SECRET_KEY, settings.WEBHOOK_KEY, pepper):
            assert secret.encode() not in dumped + (made / "manifest.json").read_bytes()

    def test_a_failed_one_leaves_nothing_that_looks_like_a_backup(self, tmp_path, monkeypatch):
        monkeypatch.setattr(programs, "program", lambda *_, **__: shutil.which("false"))

        with pytest.raises(BackupFailed, match="pg_dump ended with 1"):
            making.make(tmp_path)

        assert list(tmp_path.iterdir()) == []

    def test_without_pg_dump_it_says_what_is_missing(self, tmp_path, monkeypatch):
        monkeypatch.setattr(programs, "site_packages", lambda: None)
        monkeypatch.setenv("PATH", str(tmp_path))

        with pytest.raises(CommandError, match="There is no pg_dump of PostgreSQL") as refused:
            call_command("backup", to=tmp_path)

        assert "Install PostgreSQL's client programs" in str(refused.value)

    def test_an_older_pg_dump_is_not_used(self, tmp_path, monkeypatch):
        old = tmp_path / "pg_dump"
        old.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 14.2'\n")
        old.chmod(0o755)
        monkeypatch.setattr(programs, "site_packages", lambda: None)
        monkeypatch.setenv("PATH", str(tmp_path))

        with pytest.raises(BackupToolMissing, match="newer here, only"):
            making.make(tmp_path / "kept")


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
class TestRestore:
    def test_a_filled_database_is_refused_and_keeps_what_it_has(self, admin, tmp_path):
        fill(admin)
        made = making.make(tmp_path)
        before = Event.objects.count()

        with pytest.raises(DatabaseNotEmpty, match="tables already"):
            restoring.restore(made, connection.get_connection_params())
        with pytest.raises(CommandError, match="Make a new database"):
            call_command("restore", str(made))

        assert Event.objects.count() == before

    @pytest.mark.parametrize("name", ["database.dump", "manifest.json", "SHA256SUMS"])
    def test_a_flipped_byte_is_found_and_its_file_named(self, admin, tmp_path, empty, name):
        fill(admin)
        made = making.make(tmp_path)
        content = bytearray((made / name).read_bytes())
        content[10 if name == "SHA256SUMS" else len(content) // 2] ^= 1
        (made / name).write_bytes(content)

        with pytest.raises(BackupDamaged) as damaged:
            restoring.restore(made, empty)

        assert name in str(damaged.value)
        with contents.session(empty) as reading:
            assert contents.names(reading) == []

    def test_a_change_behind_matching_sums_is_found_by_its_table(self, admin, tmp_path, empty):
        """Whoever forges the sums as well still has to match rows and hashes."""
        fill(admin)
        made = making.make(tmp_path)
        manifest = json.loads((made / "manifest.json").read_text())
        manifest["tables"]["public.guardian_team"]["rows"] += 1
        (made / "manifest.json").write_text(json.dumps(manifest))
        sums = [f"{making.sha256_of(made / n)}  {n}" for n in (making.DUMP, making.MANIFEST)]
        (made / "SHA256SUMS").write_text("\n".join(sums) + "\n")

        with pytest.raises(BackupDamaged, match=r"public.guardian_team has 1 rows, should have 2"):
            restoring.restore(made, empty)

    def test_one_of_a_newer_version_is_refused(self, admin, tmp_path, empty, monkeypatch):
        made = making.make(tmp_path)
        manifest = restoring.read(made)
        manifest["migrations"].append("guardian.9999_later")
        monkeypatch.setattr(restoring, "read", lambda _: manifest)

        with pytest.raises(BackupFailed, match=r"guardian\.9999_later is unknown here"):
            restoring.restore(made, empty)


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.django_db(transaction=True)
class TestVerify:
    def test_a_good_one_is_proved_with_its_searches(self, admin, agent, tmp_path):
        for number in range(25):
            memory.store(actor=agent, text=f"Ship {number} sails for harbour {number % 5}")
        assert memory.sweep_unembedded() == 25
        fill(admin)
        made = making.make(tmp_path)
        out = StringIO()

        call_command("verify_backup", str(made), stdout=out)

        manifest = restoring.read(made)
        assert manifest["embedding_models"] == [provider().model]
        assert len({search["key"] for search in manifest["searches"]}) == 20
        assert all(search["nearest"][0] == search["key"] for search in manifest["searches"])
        events_kept = Event.objects.stamped().count()
        assert out.getvalue().startswith("The backup is good")
        assert f"{events_kept} events in an unbroken chain, 20 searches" in out.getvalue()

    def test_a_vector_that_moved_changes_an_answer(self, agent, tmp_path):
        for number in range(25):
            memory.store(actor=agent, text=f"Ship {number} sails for harbour {number % 5}")
        memory.sweep_unembedded()
        told = restoring.read(making.make(tmp_path))["searches"]
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE memory_memoryembedding SET v384 = (SELECT array_agg(-1.0)::halfvec(384)"
                " FROM generate_series(1, 384)) WHERE id::text = %s",
                [told[1]["nearest"][0]],
            )

        with (
            contents.session(connection.get_connection_params()) as reading,
            pytest.raises(BackupDamaged, match="finds other rows"),
        ):
            verifying.check_searches(told, reading)

    def test_a_changed_event_breaks_the_chain_where_it_stands(self, admin, tmp_path):
        """Changed with triggers off before the backup: rows and sums agree, the ledger does not."""
        fill(admin)
        seq = relay.head()[0] - 7
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE guardian_event DISABLE TRIGGER USER")
            cursor.execute("UPDATE guardian_event SET reason = 'forged' WHERE seq = %s", [seq])
            cursor.execute("ALTER TABLE guardian_event ENABLE TRIGGER USER")
        made = making.make(tmp_path)

        with pytest.raises(BackupDamaged, match=f"broken at number {seq}"):
            verifying.verify(made)


class TestKeeping:
    def test_24_hourly_7_daily_4_weekly_stay(self, tmp_path):
        now = datetime(2026, 11, 21, 23, 5, tzinfo=UTC)
        for hours in range(24 * 60):
            (tmp_path / f"{now - timedelta(hours=hours):%Y%m%dT%H%M%S.%fZ}").mkdir()
        (tmp_path / "mine").mkdir()
        (tmp_path / f"{now - timedelta(hours=25):%Y%m%dT%H%M%S.%fZ}.new").mkdir()
        (tmp_path / f"{now:%Y%m%dT%H%M%S.%fZ}.new").mkdir()

        gone = keeping.prune(tmp_path, now=now)

        left = [at for path in tmp_path.iterdir() if (at := keeping.made_at(path)) is not None]
        ages = sorted({(now - at) for at in left})
        hourly = [age for age in ages if age < timedelta(hours=24)]
        assert len(hourly) == 24
        assert {f"{at:%Y%m%d}" for at in left} >= {
            f"{now - timedelta(days=days):%Y%m%d}" for days in range(7)
        }
        assert len({f"{at:%G%V}" for at in left}) == 4
        assert len(left) <= 24 + 7 + 4 + 1
        assert (tmp_path / "mine").exists()
        assert len(gone) == 24 * 60 + 2 - len(left)

    def test_a_label_changes_nothing(self):
        assert keeping.made_at(Path("20261121T230500.000000Z-before-migration")) == datetime(
            2026, 11, 21, 23, 5, tzinfo=UTC
        )


class TestDue:
    @pytest.mark.parametrize(
        ("every", "newest", "due"),
        [
            ("hourly", None, True),
            ("hourly", "2026-11-21T22:59", True),
            ("hourly", "2026-11-21T23:00", False),
            ("hourly", "2026-11-19T07:00", True),
            ("daily", "2026-11-21T02:59", True),
            ("daily", "2026-11-21T03:01", False),
            ("off", None, False),
        ],
    )
    def test_once_per_hour_or_day_and_made_up_for(self, every, newest, due):
        at = datetime.fromisoformat(newest).replace(tzinfo=UTC) if newest else None
        now = datetime(2026, 11, 21, 23, 5, tzinfo=UTC)

        assert routine.is_due(at, now=now, every=every) is due

    def test_before_three_the_day_before_counts(self):
        now = datetime(2026, 11, 21, 2, 30, tzinfo=UTC)
        yesterday = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)

        assert not routine.is_due(yesterday, now=now, every="daily")
        assert routine.is_due(yesterday - timedelta(minutes=1), now=now, every="daily")


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
class TestRoutine:
    @pytest.fixture
    def place(self, settings, tmp_path) -> Path:
        settings.DATA_DIR = tmp_path
        settings.BACKUPS = "hourly"
        return tmp_path / "backups"

    def test_the_job_makes_one_an_hour_and_says_so(self, admin, place):
        name = jobs.back_up(1)
        again = jobs.back_up(2)

        assert again == ""
        assert [path.name for path in place.iterdir()] == [name]
        told = Event.objects.get(kind=events.BACKUP_MADE)
        assert told.data["name"] == name
        assert told.data["bytes"] > 10_000

    def test_old_ones_go(self, admin, place):
        for day in range(60):
            at = datetime(2026, 1, 1, 3, tzinfo=UTC) + timedelta(days=day)
            (place / f"{at:%Y%m%dT%H%M%S.%fZ}").mkdir(parents=True)

        name = jobs.back_up(1)

        left = [path.name for path in place.iterdir()]
        assert name in left
        assert len(left) <= 24 + 4

    def test_a_failure_is_an_error_that_operators_see(self, admin, place, monkeypatch, tmp_path):
        monkeypatch.setattr(programs, "site_packages", lambda: None)
        monkeypatch.setenv("PATH", str(tmp_path))

        assert jobs.back_up(1) == ""

        error = ErrorLog.objects.get()
        assert (error.component, error.error_type) == ("guardian.backup", "BackupToolMissing")
        assert list(place.iterdir()) == []
