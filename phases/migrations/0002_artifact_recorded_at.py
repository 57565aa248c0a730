"""When a piece of evidence was last handed in or observed; until now that was its creation."""

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('phases', '0001_initial'),
    ]

    operations = [
        migrations.AddField(
            model_name='phasegateartifact',
            name='recorded_at',
            field=models.DateTimeField(default=django.utils.timezone.now),
        ),
        migrations.RunSQL(
            'UPDATE phases_phasegateartifact SET recorded_at = created_at',
            migrations.RunSQL.noop,
        ),
    ]
