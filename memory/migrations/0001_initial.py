"""Tables, their constraints, indexes and triggers."""

import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.contrib.postgres.search
import django.core.serializers.json
import django.db.models.deletion
import django_fsm
import guardian.models.base
import pgtrigger.compiler
import pgvector.django.extensions
import pgvector.django.halfvec
import pgvector.django.indexes
from django.conf import settings
from guardian.triggers import install_triggers
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('guardian', '0001_initial'),
    ]

    operations = [
        pgvector.django.extensions.VectorExtension(
        ),
        migrations.CreateModel(
            name='MemoryRecord',
            fields=[
                ('id', models.UUIDField(default=guardian.models.base.uuid7, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('kind', models.CharField(choices=[('task', 'Task'), ('error_fix', 'Error Fix'), ('discovery', 'Discovery'), ('decision', 'Decision'), ('learning', 'Learning'), ('warning', 'Warning'), ('knowledge', 'Knowledge'), ('note', 'Note')], default='note', max_length=12)),
                ('memory_type', models.CharField(choices=[('long_term', 'Long Term'), ('episodic', 'Episodic'), ('semantic', 'Semantic')], default='long_term', max_length=10)),
                ('title', models.CharField(max_length=200)),
                ('text', models.TextField()),
                ('summary', models.CharField(blank=True, max_length=200)),
                ('tags', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=50), blank=True, default=list, size=None)),
                ('metadata', models.JSONField(blank=True, default=dict, encoder=django.core.serializers.json.DjangoJSONEncoder)),
                ('content_hash', models.CharField(editable=False, max_length=64)),
                ('visibility', models.CharField(choices=[('private', 'Private'), ('team', 'Team')], default='team', max_length=7)),
                ('trust', models.FloatField(help_text='From 0 to 1; searches leave out what is below 0.5.')),
                ('state', django_fsm.FSMField(choices=[('active', 'Active'), ('quarantined', 'Quarantined'), ('revoked', 'Revoked')], default='active', max_length=12, protected=True)),
                ('ticket_id', models.UUIDField(blank=True, null=True)),
                ('task_id', models.UUIDField(blank=True, null=True)),
                ('run_id', models.UUIDField(blank=True, null=True)),
                ('phase_id', models.UUIDField(blank=True, null=True)),
                ('evidence', models.JSONField(blank=True, default=list, help_text='[{label, id, sha256}]')),
                ('task_type', models.CharField(blank=True, max_length=100)),
                ('success', models.BooleanField(blank=True, null=True)),
                ('error_patterns', models.JSONField(blank=True, default=list, help_text='[{fingerprint, type, message}]')),
                ('reuse_count', models.PositiveIntegerField(default=0)),
                ('last_used_at', models.DateTimeField(blank=True, null=True)),
                ('search', models.GeneratedField(db_persist=True, expression=django.contrib.postgres.search.CombinedSearchVector(django.contrib.postgres.search.CombinedSearchVector(django.contrib.postgres.search.SearchVector('title', config='english', weight='A'), '||', django.contrib.postgres.search.SearchVector('summary', config='english', weight='B'), django.contrib.postgres.search.SearchConfig('english')), '||', django.contrib.postgres.search.SearchVector('text', config='english', weight='C'), django.contrib.postgres.search.SearchConfig('english')), output_field=django.contrib.postgres.search.SearchVectorField())),
                ('embedding_state', models.CharField(choices=[('pending', 'Pending'), ('ready', 'Ready')], default='pending', max_length=8)),
                ('owner', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('team', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='guardian.team')),
            ],
            options={
                'indexes': [django.contrib.postgres.indexes.GinIndex(fields=['search'], name='record_words'), models.Index(fields=['team', '-id'], name='record_of_team'), models.Index(fields=['ticket_id'], name='record_of_ticket'), models.Index(condition=models.Q(('embedding_state', 'pending')), fields=['id'], name='record_unembedded')],
                'constraints': [models.UniqueConstraint(condition=models.Q(('kind', 'task')), fields=('team', 'task_id', 'run_id'), name='record_of_a_task_is_one_per_run', nulls_distinct=False), models.UniqueConstraint(condition=models.Q(models.Q(('kind', 'task'), _negated=True), ('state__in', ('active', 'quarantined'))), fields=('team', 'owner', 'content_hash'), name='record_text_is_one_per_owner_while_live'), models.CheckConstraint(condition=models.Q(('trust__gte', 0), ('trust__lte', 1)), name='record_trust_is_between_0_and_1'), models.CheckConstraint(condition=models.Q(models.Q(('kind', 'task'), _negated=True), models.Q(('success__isnull', False), ('task_id__isnull', False)), _connector='OR'), name='record_names_its_task_and_outcome_when_it_is_of_a_task'), models.CheckConstraint(condition=models.Q(models.Q(('text', ''), _negated=True), models.Q(('title', ''), _negated=True)), name='record_has_text'), models.CheckConstraint(condition=models.Q(('visibility__in', ['private', 'team'])), name='record_visibility_is_known')],
                'triggers': [pgtrigger.compiler.Trigger(name='record_state_edges', sql=pgtrigger.compiler.UpsertTriggerSql(declare='DECLARE _is_valid_transition BOOLEAN;', func='SELECT CONCAT(OLD."state", \':\', NEW."state") = ANY(\'{quarantined:active,active:revoked,quarantined:revoked}\'::text[]) INTO _is_valid_transition; IF (_is_valid_transition IS FALSE AND OLD."state" IS DISTINCT FROM NEW."state") THEN RAISE EXCEPTION \'pgtrigger: Invalid transition of field "state" from "%" to "%" on table %\', OLD."state", NEW."state", TG_TABLE_NAME; ELSE RETURN NEW; END IF;', hash='dec79adde177a7ad04d2ec7fed8216a782da3657', operation='UPDATE', pgid='pgtrigger_record_state_edges_9544f', table='memory_memoryrecord', when='BEFORE')), pgtrigger.compiler.Trigger(name='record_starts_active_or_quarantined', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (NEW."state" = \'revoked\')', func="RAISE EXCEPTION 'a memory starts active or quarantined' USING ERRCODE = 'check_violation';", hash='2c01ff9bbf6e1c6d46607cdc9fb1c3ffa862f9f9', operation='INSERT', pgid='pgtrigger_record_starts_active_or_quarantined_49f3e', table='memory_memoryrecord', when='BEFORE')), pgtrigger.compiler.Trigger(name='record_text_is_never_edited', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD."text" IS DISTINCT FROM (NEW."text"))', func="RAISE EXCEPTION 'the text of a memory is never edited' USING ERRCODE = 'restrict_violation';", hash='1ac533cffa265c97eb0319489093280cd7895544', operation='UPDATE', pgid='pgtrigger_record_text_is_never_edited_9b3ac', table='memory_memoryrecord', when='BEFORE'))],
            },
            bases=(django_fsm.FSMModelMixin, models.Model),
        ),
        migrations.CreateModel(
            name='MemoryEmbedding',
            fields=[
                ('id', models.UUIDField(default=guardian.models.base.uuid7, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('part_no', models.PositiveSmallIntegerField()),
                ('start', models.PositiveIntegerField(help_text='Characters before this part.')),
                ('length', models.PositiveIntegerField(help_text='Characters.')),
                ('text_sha256', models.CharField(max_length=64)),
                ('model', models.CharField(max_length=100)),
                ('dimension', models.PositiveSmallIntegerField()),
                ('v384', pgvector.django.halfvec.HalfVectorField(dimensions=384, null=True)),
                ('team', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='guardian.team')),
                ('record', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='embeddings', to='memory.memoryrecord')),
            ],
            options={
                'indexes': [pgvector.django.indexes.HnswIndex(ef_construction=128, fields=['v384'], m=16, name='embedding_near_v384', opclasses=['halfvec_cosine_ops']), models.Index(fields=['team', 'text_sha256', 'model'], name='embedding_of_text')],
                'constraints': [models.UniqueConstraint(fields=('record', 'model', 'part_no'), name='embedding_is_one_per_record_model_and_part'), models.CheckConstraint(condition=models.Q(('dimension', 384), ('v384__isnull', False)), name='embedding_has_the_vector_of_its_dimension')],
            },
        ),
        migrations.CreateModel(
            name='MemoryUse',
            fields=[
                ('id', models.UUIDField(default=guardian.models.base.uuid7, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('run_id', models.UUIDField()),
                ('task_id', models.UUIDField()),
                ('rank', models.PositiveSmallIntegerField(help_text='1 is the most similar.')),
                ('cited', models.BooleanField(default=False)),
                ('used_at', models.DateTimeField()),
                ('record', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='uses', to='memory.memoryrecord')),
                ('team', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='guardian.team')),
            ],
            options={
                'indexes': [models.Index(fields=['run_id'], name='use_of_run')],
                'constraints': [models.UniqueConstraint(fields=('record', 'run_id'), name='use_is_one_per_record_and_run')],
            },
        ),
        install_triggers('memory'),
    ]
