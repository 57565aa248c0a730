"""What an installation stands on: Django's own deployment checks, and the database's extensions."""

import io

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from guardian.management.commands.prepare import refuse_another_line


def test_the_checks_for_deployment_are_clean():
    out = io.StringIO()

    call_command("check", deploy=True, fail_level="WARNING", stdout=out)

    assert "no issues" in out.getvalue()


@pytest.mark.django_db
def test_nothing_needs_more_than_the_two_extensions():
    with connection.cursor() as cursor:
        cursor.execute("SELECT extname FROM pg_extension ORDER BY extname")
        found = [name for (name,) in cursor.fetchall()]

    assert found == ["plpgsql", "vector"]


@pytest.mark.django_db
class TestLines:
    def test_a_newer_database_is_worked_with(self):
        MigrationRecorder(connection).record_applied("phases", "0099_of_tomorrow")

        refuse_another_line()

    def test_a_database_of_another_line_is_refused_by_name(self):
        recorder = MigrationRecorder(connection)
        recorder.record_applied("orchestrator", "0001_patterns")
        recorder.record_unapplied("orchestrator", "0001_initial")

        with pytest.raises(CommandError, match=r"another line of Lemnos \(orchestrator\.0001_pat"):
            refuse_another_line()
