"""What an installation stands on: Django's own deployment checks, and the database's extensions."""

import io

import pytest
from django.core.management import call_command
from django.db import connection


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
