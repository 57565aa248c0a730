"""One sequence gives every lock its fence."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("guardian", "0001_initial")]

    operations = [
        migrations.RunSQL(
            "CREATE SEQUENCE IF NOT EXISTS guardian_fence_seq",
            "DROP SEQUENCE IF EXISTS guardian_fence_seq",
        )
    ]
