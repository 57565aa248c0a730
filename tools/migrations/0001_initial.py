"""Tables, their constraints, indexes and triggers."""

import django.contrib.postgres.fields
import django.core.serializers.json
import django.db.models.deletion
import django_fsm
import guardian.models.base
import pgtrigger.compiler
from django.conf import settings
from guardian.triggers import install_triggers
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('guardian', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='SandboxHost',
            fields=[
                ('id', models.UUIDField(default=guardian.models.base.uuid7, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=200, unique=True)),
                ('levels', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=10), default=list, size=None)),
                ('evidence', models.JSONField(default=dict)),
                ('warnings', django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), blank=True, default=list, size=None)),
                ('image', models.CharField(blank=True, max_length=80)),
                ('probed_at', models.DateTimeField(blank=True, null=True)),
                ('heartbeat_at', models.DateTimeField()),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('updated_at', models.DateTimeField(auto_now=True)),
            ],
        ),
        migrations.CreateModel(
            name='FileChunk',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('sha256', models.CharField(max_length=64)),
                ('seq', models.PositiveSmallIntegerField()),
                ('data', models.BinaryField()),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('sha256', 'seq'), name='file_chunk_seq_is_unique')],
            },
        ),
        migrations.CreateModel(
            name='Tool',
            fields=[
                ('id', models.UUIDField(default=guardian.models.base.uuid7, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=255)),
                ('version', models.CharField(default='1.0.0', max_length=40)),
                ('description', models.TextField(blank=True, max_length=8192)),
                ('category', models.CharField(choices=[('database', 'Database'), ('api', 'Api'), ('file_system', 'File System'), ('powershell', 'Powershell'), ('bash', 'Bash'), ('analysis', 'Analysis'), ('communication', 'Communication'), ('search', 'Search'), ('code_execution', 'Code Execution'), ('monitoring', 'Monitoring'), ('educational', 'Educational'), ('research', 'Research'), ('content_creation', 'Content Creation'), ('assessment', 'Assessment'), ('llm', 'Llm'), ('web_scraping', 'Web Scraping'), ('data_processing', 'Data Processing'), ('visualization', 'Visualization')], default='analysis', max_length=20)),
                ('security_level', models.CharField(choices=[('safe', 'Safe'), ('low_risk', 'Low Risk'), ('medium_risk', 'Medium Risk'), ('high_risk', 'High Risk'), ('critical', 'Critical')], default='medium_risk', max_length=12)),
                ('status', django_fsm.FSMField(choices=[('draft', 'Draft'), ('active', 'Active'), ('inactive', 'Inactive'), ('maintenance', 'Maintenance'), ('deprecated', 'Deprecated'), ('quarantined', 'Quarantined'), ('archived', 'Archived')], default='draft', max_length=12, protected=True)),
                ('trust', models.CharField(choices=[('untrusted', 'Untrusted'), ('reviewed', 'Reviewed'), ('trusted', 'Trusted')], default='untrusted', max_length=10)),
                ('function_signature', models.JSONField(help_text='JSON Schema of the input, type object.')),
                ('output_schema', models.JSONField(blank=True, null=True)),
                ('handler_kind', models.CharField(choices=[('unset', 'Unset'), ('python', 'Python'), ('http', 'Http'), ('sandbox_command', 'Sandbox Command'), ('sandbox_code', 'Sandbox Code')], default='unset', max_length=16)),
                ('handler', models.JSONField(blank=True, default=dict)),
                ('requires_sandbox', models.BooleanField(default=False)),
                ('sandbox_image', models.CharField(blank=True, max_length=80)),
                ('max_execution_seconds', models.PositiveIntegerField(default=60)),
                ('max_session_seconds', models.PositiveIntegerField(default=300)),
                ('memory_mb', models.PositiveIntegerField(default=512)),
                ('cpus', models.FloatField(default=0.5)),
                ('pids', models.PositiveIntegerField(default=64)),
                ('tmp_mb', models.PositiveIntegerField(default=100)),
                ('out_mb', models.PositiveIntegerField(default=16)),
                ('output_kb', models.PositiveIntegerField(default=1024)),
                ('rate_limit_calls', models.PositiveIntegerField(default=60)),
                ('rate_limit_seconds', models.PositiveIntegerField(default=60)),
                ('requires_approval', models.BooleanField(default=False)),
                ('stateful', models.BooleanField(default=False)),
                ('idempotent', models.BooleanField(default=False)),
                ('metadata', models.JSONField(blank=True, default=dict)),
                ('tags', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=50), blank=True, default=list, size=None)),
                ('capabilities', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=50), blank=True, default=list, size=None)),
                ('dependencies', models.JSONField(blank=True, default=list)),
                ('examples', models.JSONField(blank=True, default=list)),
                ('last_used_at', models.DateTimeField(blank=True, null=True)),
                ('revision', models.PositiveIntegerField(default=1, help_text='Counts edits; the ETag.')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('created_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('team', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='guardian.team')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('team', 'name', 'version'), name='tool_name_and_version_are_unique_per_team', nulls_distinct=False), models.CheckConstraint(condition=models.Q(('cpus__range', (0.01, 4)), ('max_execution_seconds__range', (1, 3600)), ('max_session_seconds__range', (10, 3600)), ('memory_mb__range', (32, 4096)), ('out_mb__range', (1, 256)), ('output_kb__range', (1, 1024)), ('pids__range', (4, 512)), ('tmp_mb__range', (1, 1024))), name='tool_limits_are_in_range'), models.CheckConstraint(condition=models.Q(('trust__in', ['untrusted', 'reviewed', 'trusted'])), name='tool_trust_is_known')],
                'triggers': [pgtrigger.compiler.Trigger(name='tool_status_edges', sql=pgtrigger.compiler.UpsertTriggerSql(declare='DECLARE _is_valid_transition BOOLEAN;', func='SELECT CONCAT(OLD."status", \':\', NEW."status") = ANY(\'{draft:active,active:inactive,inactive:active,active:maintenance,maintenance:active,active:deprecated,draft:quarantined,active:quarantined,inactive:quarantined,maintenance:quarantined,deprecated:quarantined,quarantined:active,draft:archived,active:archived,inactive:archived,maintenance:archived,deprecated:archived,quarantined:archived}\'::text[]) INTO _is_valid_transition; IF (_is_valid_transition IS FALSE AND OLD."status" IS DISTINCT FROM NEW."status") THEN RAISE EXCEPTION \'pgtrigger: Invalid transition of field "status" from "%" to "%" on table %\', OLD."status", NEW."status", TG_TABLE_NAME; ELSE RETURN NEW; END IF;', hash='331fc66647524d604e256734312a57c7ade83947', operation='UPDATE', pgid='pgtrigger_tool_status_edges_23e18', table='tools_tool', when='BEFORE')), pgtrigger.compiler.Trigger(name='tool_starts_as_draft', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (NEW."status" IS DISTINCT FROM \'draft\')', func="RAISE EXCEPTION 'a tool starts as draft' USING ERRCODE = 'check_violation';", hash='51a29c54034dcb1034235399a03ac9f17f156a68', operation='INSERT', pgid='pgtrigger_tool_starts_as_draft_9a8c7', table='tools_tool', when='BEFORE'))],
            },
            bases=(django_fsm.FSMModelMixin, models.Model),
        ),
        migrations.CreateModel(
            name='ToolExecution',
            fields=[
                ('id', models.UUIDField(default=guardian.models.base.uuid7, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('context', models.JSONField(blank=True, default=dict, encoder=django.core.serializers.json.DjangoJSONEncoder)),
                ('origin', models.CharField(blank=True, choices=[('', 'None'), ('upload', 'Upload'), ('self', 'Self')], default='', max_length=6)),
                ('needed_level', models.CharField(max_length=10)),
                ('input_data', models.JSONField(blank=True, default=dict, encoder=django.core.serializers.json.DjangoJSONEncoder)),
                ('output_data', models.JSONField(blank=True, encoder=django.core.serializers.json.DjangoJSONEncoder, null=True)),
                ('stdout', models.TextField(blank=True)),
                ('stderr', models.TextField(blank=True)),
                ('error_message', models.TextField(blank=True)),
                ('status', django_fsm.FSMField(choices=[('pending', 'Pending'), ('running', 'Running'), ('completed', 'Completed'), ('failed', 'Failed'), ('timeout', 'Timeout'), ('cancelled', 'Cancelled')], default='pending', max_length=10, protected=True)),
                ('result_class', models.CharField(blank=True, max_length=16)),
                ('flags', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=20), blank=True, default=list, size=None)),
                ('exit_code', models.IntegerField(blank=True, null=True)),
                ('execution_time_ms', models.PositiveIntegerField(blank=True, null=True)),
                ('resource_usage', models.JSONField(blank=True, default=dict)),
                ('isolation_level', models.CharField(blank=True, max_length=10)),
                ('host', models.CharField(blank=True, max_length=200)),
                ('limits_applied', models.JSONField(blank=True, default=dict)),
                ('attempt', models.PositiveSmallIntegerField(default=0)),
                ('max_attempts', models.PositiveSmallIntegerField(default=3)),
                ('lease_until', models.DateTimeField(blank=True, null=True)),
                ('cancel_requested_at', models.DateTimeField(blank=True, null=True)),
                ('started_at', models.DateTimeField(blank=True, null=True)),
                ('completed_at', models.DateTimeField(blank=True, null=True)),
                ('team', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='guardian.team')),
                ('tool', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='executions', to='tools.tool')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('run_key', models.CharField(blank=True, help_text='The run and step that asked, as run:step; set by server code only.', max_length=150)),
            ],
            options={
                'indexes': [models.Index(fields=['team', 'tool', '-id'], name='execution_by_tool'), models.Index(condition=models.Q(('status', 'running')), fields=['lease_until'], name='execution_due'), models.Index(condition=models.Q(('status__in', ['pending', 'running'])), fields=['id'], name='execution_open'), models.Index(condition=models.Q(('run_key', ''), _negated=True), fields=['run_key'], name='execution_by_run')],
                'constraints': [models.CheckConstraint(condition=models.Q(models.Q(('lease_until__isnull', False), ('status', 'running')), models.Q(models.Q(('status', 'running'), _negated=True), ('lease_until', None)), _connector='OR'), name='execution_is_leased_exactly_when_running'), models.CheckConstraint(condition=models.Q(models.Q(('completed_at__isnull', False), ('status__in', ('completed', 'failed', 'timeout', 'cancelled'))), models.Q(models.Q(('status__in', ('completed', 'failed', 'timeout', 'cancelled')), _negated=True), ('completed_at', None)), _connector='OR'), name='execution_has_an_end_exactly_when_ended'), models.CheckConstraint(condition=models.Q(('result_class__in', ('', 'ok', 'failed', 'blocked', 'handler_error', 'infra_error', 'cancelled', 'timeout', 'output_truncated', 'oom_killed', 'pids_exceeded', 'disk_full', 'killed_self', 'invalid_output'))), name='execution_result_class_is_known'), models.CheckConstraint(condition=models.Q(('origin__in', ['', 'upload', 'self'])), name='execution_origin_is_known')],
                'triggers': [pgtrigger.compiler.Trigger(name='execution_status_edges', sql=pgtrigger.compiler.UpsertTriggerSql(declare='DECLARE _is_valid_transition BOOLEAN;', func='SELECT CONCAT(OLD."status", \':\', NEW."status") = ANY(\'{pending:running,pending:cancelled,pending:failed,running:completed,running:failed,running:timeout,running:cancelled,running:pending}\'::text[]) INTO _is_valid_transition; IF (_is_valid_transition IS FALSE AND OLD."status" IS DISTINCT FROM NEW."status") THEN RAISE EXCEPTION \'pgtrigger: Invalid transition of field "status" from "%" to "%" on table %\', OLD."status", NEW."status", TG_TABLE_NAME; ELSE RETURN NEW; END IF;', hash='2c44dea148b1245ff9fdc7f850d38e3b20c909d6', operation='UPDATE', pgid='pgtrigger_execution_status_edges_007b3', table='tools_toolexecution', when='BEFORE')), pgtrigger.compiler.Trigger(name='execution_starts_pending', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (NEW."status" IS DISTINCT FROM \'pending\')', func="RAISE EXCEPTION 'an execution starts pending' USING ERRCODE = 'check_violation';", hash='d2776b76b452cec633243f7d57fb3059e4f129c6', operation='INSERT', pgid='pgtrigger_execution_starts_pending_2b29a', table='tools_toolexecution', when='BEFORE'))],
            },
            bases=(django_fsm.FSMModelMixin, models.Model),
        ),
        migrations.CreateModel(
            name='ToolArtifact',
            fields=[
                ('id', models.UUIDField(default=guardian.models.base.uuid7, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('name', models.CharField(max_length=255)),
                ('media_type', models.CharField(default='application/octet-stream', max_length=100)),
                ('size', models.PositiveBigIntegerField(help_text='bytes')),
                ('sha256', models.CharField(max_length=64)),
                ('created_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('team', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='guardian.team')),
                ('execution', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='artifacts', to='tools.toolexecution')),
            ],
            options={
                'indexes': [models.Index(fields=['sha256'], name='artifact_by_content'), models.Index(fields=['execution'], name='artifact_by_execution')],
                'constraints': [models.UniqueConstraint(condition=models.Q(('execution', None)), fields=('team', 'sha256'), name='uploaded_file_has_one_id_per_team_and_content')],
            },
        ),
        migrations.CreateModel(
            name='ToolExecutionLog',
            fields=[
                ('id', models.UUIDField(default=guardian.models.base.uuid7, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('seq', models.PositiveIntegerField()),
                ('level', models.CharField(default='info', max_length=10)),
                ('source', models.CharField(default='runner', max_length=20)),
                ('message', models.TextField()),
                ('metadata', models.JSONField(blank=True, default=dict)),
                ('execution', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='logs', to='tools.toolexecution')),
                ('team', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='guardian.team')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('execution', 'seq'), name='execution_log_seq_is_unique'), models.CheckConstraint(condition=models.Q(('seq__lte', 10000)), name='execution_log_is_at_most_10000_lines')],
                'triggers': [pgtrigger.compiler.Trigger(name='execution_log_is_append_only', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;", hash='e3c5ab8c9a008429ff0fe9dd59f221e9b34d80b6', operation='UPDATE OR DELETE', pgid='pgtrigger_execution_log_is_append_only_85df8', table='tools_toolexecutionlog', when='BEFORE'))],
            },
        ),
        migrations.CreateModel(
            name='ToolPermission',
            fields=[
                ('id', models.UUIDField(default=guardian.models.base.uuid7, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('principal_type', models.CharField(choices=[('user', 'User'), ('agent', 'Agent'), ('role', 'Role'), ('team', 'Team')], max_length=5)),
                ('principal_id', models.CharField(blank=True, help_text='User id or role; empty = all of this kind.', max_length=64)),
                ('level', models.CharField(choices=[('read', 'Read'), ('write', 'Write'), ('execute', 'Execute'), ('admin', 'Admin'), ('owner', 'Owner')], default='read', max_length=7)),
                ('effect', models.CharField(choices=[('allow', 'Allow'), ('deny', 'Deny')], default='allow', max_length=5)),
                ('max_execution_seconds', models.PositiveIntegerField(blank=True, null=True)),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('created_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('team', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='guardian.team')),
                ('tool', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='permissions', to='tools.tool')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('team', 'tool', 'principal_type', 'principal_id', 'effect'), name='tool_permission_is_unique_per_principal_and_effect'), models.CheckConstraint(condition=models.Q(('level__in', ('read', 'write', 'execute', 'admin', 'owner'))), name='tool_permission_level_is_known'), models.CheckConstraint(condition=models.Q(('effect__in', ['allow', 'deny'])), name='tool_permission_effect_is_known')],
            },
        ),
        migrations.CreateModel(
            name='ToolVersion',
            fields=[
                ('id', models.UUIDField(default=guardian.models.base.uuid7, editable=False, primary_key=True, serialize=False)),
                ('revision', models.PositiveIntegerField()),
                ('snapshot', models.JSONField()),
                ('passport_hash', models.CharField(max_length=64)),
                ('status', django_fsm.FSMField(choices=[('proposed', 'Proposed'), ('approved', 'Approved'), ('rejected', 'Rejected'), ('superseded', 'Superseded'), ('quarantined', 'Quarantined')], default='proposed', max_length=12, protected=True)),
                ('approval_kind', models.CharField(blank=True, choices=[('shipped', 'Shipped'), ('admin', 'Admin'), ('second_person', 'Second Person'), ('solo', 'Solo')], max_length=14)),
                ('note', models.TextField(blank=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('approver', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('author', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('tool', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='versions', to='tools.tool')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('tool', 'revision'), name='tool_version_revision_is_unique'), models.UniqueConstraint(condition=models.Q(('status', 'approved')), fields=('tool',), name='tool_has_one_approved_version')],
                'triggers': [pgtrigger.compiler.Trigger(name='tool_version_status_edges', sql=pgtrigger.compiler.UpsertTriggerSql(declare='DECLARE _is_valid_transition BOOLEAN;', func='SELECT CONCAT(OLD."status", \':\', NEW."status") = ANY(\'{proposed:approved,proposed:rejected,approved:superseded,approved:quarantined,quarantined:approved,quarantined:superseded}\'::text[]) INTO _is_valid_transition; IF (_is_valid_transition IS FALSE AND OLD."status" IS DISTINCT FROM NEW."status") THEN RAISE EXCEPTION \'pgtrigger: Invalid transition of field "status" from "%" to "%" on table %\', OLD."status", NEW."status", TG_TABLE_NAME; ELSE RETURN NEW; END IF;', hash='0235862ce8fcbc530cfd4d141b18844478876ffa', operation='UPDATE', pgid='pgtrigger_tool_version_status_edges_a79f7', table='tools_toolversion', when='BEFORE')), pgtrigger.compiler.Trigger(name='tool_version_starts_proposed', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (NEW."status" IS DISTINCT FROM \'proposed\')', func="RAISE EXCEPTION 'a version starts as proposed' USING ERRCODE = 'check_violation';", hash='954d08c8404852d39c38f46a9e5a29d4fc56e838', operation='INSERT', pgid='pgtrigger_tool_version_starts_proposed_b4a6f', table='tools_toolversion', when='BEFORE')), pgtrigger.compiler.Trigger(name='approved_tool_version_is_frozen', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (NOT (OLD."status" = \'proposed\') AND (OLD."snapshot" IS DISTINCT FROM (NEW."snapshot") OR OLD."passport_hash" IS DISTINCT FROM (NEW."passport_hash") OR OLD."revision" IS DISTINCT FROM (NEW."revision")))', func="RAISE EXCEPTION 'pgtrigger: Cannot update rows from % table', TG_TABLE_NAME;", hash='7a4d4c0a1c2b60b07828bef5dff116ca59022385', operation='UPDATE', pgid='pgtrigger_approved_tool_version_is_frozen_7c7a1', table='tools_toolversion', when='BEFORE'))],
            },
            bases=(django_fsm.FSMModelMixin, models.Model),
        ),
        migrations.AddField(
            model_name='toolexecution',
            name='version',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='executions', to='tools.toolversion'),
        ),
        install_triggers('tools'),
    ]
