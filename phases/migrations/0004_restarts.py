"""What a ticket is about may be replaced; a closed ticket may be taken up again."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('phases', '0003_task_visit'),
    ]

    operations = [
        migrations.AddField(
            model_name='ticket',
            name='fresh_from_visit',
            field=models.PositiveIntegerField(db_default=1, default=1),
        ),
        migrations.AddField(
            model_name='workflow',
            name='context_kinds',
            field=models.JSONField(blank=True, db_default={}, default=dict),
        ),
        migrations.AlterField(
            model_name='phasehistory',
            name='kind',
            field=models.CharField(choices=[('create', 'Create'), ('forward', 'Forward'), ('backward', 'Backward'), ('block', 'Block'), ('unblock', 'Unblock'), ('result', 'Result'), ('restart', 'Restart'), ('reopen', 'Reopen')], max_length=10),
        ),
    ]
