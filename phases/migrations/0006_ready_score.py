"""What the score of a waiting task needs, in its row of the queue."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('phases', '0005_checkups_name_their_source'),
    ]

    operations = [
        migrations.AddField(
            model_name='readytask',
            name='blockers',
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='readytask',
            name='retry_left',
            field=models.FloatField(db_default=1, default=1),
        ),
        migrations.RunSQL(
            'UPDATE phases_readytask r SET'
            ' blockers = (SELECT count(*) FROM phases_taskdependency d'
            ' WHERE d.depends_on_id = r.task_id AND NOT d.satisfied),'
            ' retry_left = CASE WHEN t.max_retries = 0 THEN 0 ELSE'
            ' greatest(0, t.max_retries - t.retry_count)::float / t.max_retries END'
            ' FROM phases_task t WHERE t.id = r.task_id',
            migrations.RunSQL.noop,
        ),
    ]
