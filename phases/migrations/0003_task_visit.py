"""Which visit of its ticket a task is for; until now every visit counted."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('phases', '0002_artifact_recorded_at'),
    ]

    operations = [
        migrations.AddField(
            model_name='task',
            name='visit',
            field=models.PositiveIntegerField(db_default=1, default=1),
        ),
        migrations.RunSQL(
            'UPDATE phases_task t SET visit = k.visit FROM phases_ticket k'
            ' WHERE k.id = t.ticket_id AND k.visit <> t.visit',
            migrations.RunSQL.noop,
        ),
    ]
