"""A mark on tasks that locks were taken for, so that a completion under way sees it."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('phases', '0002_exact_leases_and_true_queue'),
    ]

    operations = [
        migrations.AddField(
            model_name='task',
            name='holds_locks',
            field=models.BooleanField(db_default=False, default=False, editable=False),
        ),
    ]
