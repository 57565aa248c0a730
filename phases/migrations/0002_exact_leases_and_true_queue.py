"""The count of a holder's leases that no parallel claim outruns, and an index of ready tasks."""

import django.db.models
from django.db import migrations

# VOLATILE on purpose: its count sees what was committed while it waited for the lock, which the
# claim that asks, being one statement, does not.
HELD_LEASES = """
CREATE OR REPLACE FUNCTION phases_held_leases(holder uuid) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(holder::text, 42));
    RETURN (SELECT count(*) FROM phases_task t
             WHERE t.holder_id = holder AND t.status IN ('assigned', 'running'));
END
$$
"""


class Migration(migrations.Migration):
    dependencies = [("phases", "0001_initial")]

    operations = [
        migrations.RunSQL(
            sql=HELD_LEASES, reverse_sql="DROP FUNCTION phases_held_leases(uuid)"
        ),
        migrations.AddIndex(
            model_name="task",
            index=django.db.models.Index(
                condition=django.db.models.Q(
                    ("deps_left", 0), ("status__in", ("pending", "needs_work"))
                ),
                fields=["ticket"],
                name="task_waits_for_nothing",
            ),
        ),
    ]
