"""Say of the shipped checkup, where a team has it already, that its work is about a source."""

from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('phases', '0004_restarts'),
    ]

    operations = [
        migrations.RunSQL(
            """UPDATE phases_workflow SET context_kinds = '{"source": "repository"}'"""
            """ WHERE key = 'repo_checkup' AND context_kinds = '{}'""",
            migrations.RunSQL.noop,
        ),
    ]
