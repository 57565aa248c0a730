"""What P1 promises of the database: timeouts by role, one line of migrations, old code on top."""

import subprocess
import sys
from itertools import pairwise

import pytest
from django.apps import apps
from django.conf import settings
from django.db import connection
from django.db.migrations import operations
from django.db.migrations.loader import MigrationLoader

from config import settings as source
from guardian.management.commands import prepare
from tests.e2e.processes import environment

# What takes something away or gives it another name: two releases later at the earliest, and then
# it stands here with the release that stopped using it.
TAKING = (
    operations.DeleteModel,
    operations.RemoveField,
    operations.RenameField,
    operations.RenameModel,
    operations.AlterModelTable,
)
AGREED: dict[str, str] = {}
ASK = "SELECT current_setting(%s)"


def shown(name: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(ASK, [name])
        return cursor.fetchone()[0]


@pytest.fixture(scope="module")
def loader() -> MigrationLoader:
    return MigrationLoader(None)


@pytest.mark.django_db
class TestTimeouts:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("statement_timeout", "15s"),
            ("lock_timeout", "5s"),
            ("idle_in_transaction_session_timeout", "30s"),
        ],
    )
    def test_nothing_holds_the_database_for_long(self, name, value):
        assert shown(name) == value

    def test_a_migration_gives_up_sooner_than_requests_that_wait_behind_it(self, monkeypatch):
        seen = []

        def look(*_args: object, **_options: object) -> None:
            seen.append((shown("lock_timeout"), shown("statement_timeout")))

        monkeypatch.setattr(prepare, "call_command", look)

        prepare.migrate()

        assert seen == [("3s", "0")]
        with connection.cursor() as cursor:
            cursor.execute("RESET lock_timeout; RESET statement_timeout")

    def test_each_process_keeps_at_most_ten_connections(self, monkeypatch):
        monkeypatch.setattr(source, "TESTING", False)

        made = source.database_from_url("postgres://somebody@db/lemnos")

        assert made["OPTIONS"]["pool"]["max_size"] == 10

    def test_each_session_says_whose_it_is(self, tmp_path):
        code = (
            "import django; django.setup(); from django.db import connection as c\n"
            "with c.cursor() as k: k.execute('SHOW application_name'); print(k.fetchone()[0])"
        )
        asked = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=settings.BASE_DIR, env=environment(tmp_path), stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        said, _ = asked.communicate(timeout=60)

        assert said.startswith("lemnos ")
        assert said.strip().endswith(f":{asked.pid}")


class TestOneLine:
    @pytest.mark.parametrize("app", settings.OWN_APPS)
    def test_each_app_s_migrations_follow_one_another(self, loader, app):
        own = sorted(name for label, name in loader.disk_migrations if label == app)

        assert [name[:4] for name in own] == [f"{n:04}" for n in range(1, len(own) + 1)]
        assert loader.graph.leaf_nodes(app) == [(app, own[-1])]
        assert [name for name in own if "_auto_" in name] == []
        for before, name in pairwise(own):
            parents = loader.disk_migrations[app, name].dependencies
            assert [parent for label, parent in parents if label == app] == [before]

    def test_after_the_first_none_takes_anything_away(self, loader):
        taken = {
            f"{app}.{name}: {operation.describe()}"
            for (app, name), migration in loader.disk_migrations.items()
            if app in settings.OWN_APPS and not name.startswith("0001_")
            for operation in migration.operations
            if isinstance(operation, TAKING)
            or any(word in sql_of(operation) for word in ("DROP TABLE", "DROP COLUMN", "RENAME"))
        }

        assert taken - set(AGREED) == set()


def sql_of(operation: operations.base.Operation) -> str:
    return str(operation.sql).upper() if isinstance(operation, operations.RunSQL) else ""


@pytest.mark.django_db
class TestOldCode:
    """The models as they were after each app's first migration, on the tables of today."""

    @pytest.fixture
    def old(self, loader):
        own = settings.OWN_APPS
        state = loader.project_state([(app, "0001_initial") for app in own])
        return [model for model in state.apps.get_models() if model._meta.app_label in own]

    def test_finds_every_table_and_column_in_the_type_it_knows(self, old):
        assert len(old) > 30
        for model in old:
            columns = columns_of(model._meta.db_table)
            for field in model._meta.local_concrete_fields:
                now = apps.get_model(model._meta.label)._meta.get_field(field.name)
                assert field.column in columns, f"{model._meta.label}.{field.name} is gone"
                # A text has no length: what fits into a varchar fits into it.
                grown = (kind(field), kind(now)) == ("varchar", "text")
                same = kind(field) == kind(now)
                assert same or grown, f"{model._meta.label}.{field.name} changed"

    def test_can_write_rows_without_what_it_does_not_know(self, old):
        needed = {
            f"{model._meta.label}.{column}"
            for model in old
            for column, optional in columns_of(model._meta.db_table).items()
            if not optional
            and column not in {field.column for field in model._meta.local_concrete_fields}
        }

        assert needed == set()


def kind(field) -> str:
    """The column's type without a length, which may grow."""
    return str(field.db_type(connection)).partition("(")[0]


def columns_of(table: str) -> dict[str, bool]:
    """Column → whether a row may come without it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT column_name, is_nullable = 'YES' OR column_default IS NOT NULL"
            "       OR is_identity = 'YES' OR is_generated <> 'NEVER'"
            "  FROM information_schema.columns WHERE table_name = %s",
            [table],
        )
        return dict(cursor.fetchall())
