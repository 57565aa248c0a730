from django.db import migrations


class Migration(migrations.Migration):
    """A release that knows no approvals goes on opening tickets while the next one starts.

    Not the model's `db_default`: what the database answers would be set on a protected field.
    """

    dependencies = [("phases", "0005_ready_deadlines")]

    operations = [
        migrations.RunSQL(
            "ALTER TABLE phases_ticket ALTER COLUMN approval_status SET DEFAULT 'not_required'",
            "ALTER TABLE phases_ticket ALTER COLUMN approval_status DROP DEFAULT",
        )
    ]
