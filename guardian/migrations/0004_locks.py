"""Lines for locks, locks of instances, and fences that outlive a crash of the server."""

import django.core.serializers.json
import django.db.models.deletion
import django_fsm
import guardian.models.base
import pgtrigger.compiler
import pgtrigger.migrations
from django.conf import settings
from django.db import migrations, models

# A lease may be lost in a crash, with the transaction that took it; its fence may not be given
# twice. PostgreSQL flushes a sequence with a commit that waits for the disk, and those of leases do
# not. So fences are given out of blocks: the end of a block is durable before its first fence is
# given, and an unlogged table, which a crash empties, says which block is open. After a crash the
# sequence goes on behind the last block.
FENCES = """
CREATE TABLE guardian_fence_mark (upto bigint NOT NULL);
INSERT INTO guardian_fence_mark VALUES (0);
CREATE UNLOGGED TABLE guardian_fence_block (floor bigint NOT NULL, upto bigint NOT NULL);

CREATE FUNCTION guardian_next_fence() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    fence bigint := nextval('guardian_fence_seq');
    block record;
BEGIN
    SELECT * INTO block FROM guardian_fence_block;
    IF fence > block.floor AND fence <= block.upto THEN
        RETURN fence;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('lemnos fences'), 0);
    SELECT * INTO block FROM guardian_fence_block;
    IF block.floor IS NULL THEN
        -- Others draw meanwhile: the step is wider than they can get, and theirs count no more.
        block.floor := 100000 + greatest(
            (SELECT upto FROM guardian_fence_mark), (SELECT last_value FROM guardian_fence_seq));
        block.upto := block.floor;
        PERFORM setval('guardian_fence_seq', block.floor);
    END IF;
    fence := nextval('guardian_fence_seq');
    IF fence > block.upto THEN
        PERFORM set_config('synchronous_commit', 'on', true);
        UPDATE guardian_fence_mark SET upto = fence + 1000000;
        DELETE FROM guardian_fence_block;
        INSERT INTO guardian_fence_block VALUES (block.floor, fence + 1000000);
    END IF;
    RETURN fence;
END
$$;
"""
NO_FENCES = """
DROP FUNCTION guardian_next_fence();
DROP TABLE guardian_fence_block, guardian_fence_mark;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('guardian', '0003_webhooks'),
    ]

    operations = [
        migrations.RunSQL(sql=FENCES, reverse_sql=NO_FENCES),
        migrations.CreateModel(
            name='LockRequest',
            fields=[
                ('id', models.UUIDField(default=guardian.models.base.uuid7, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('resource_type', models.CharField(max_length=50)),
                ('resource_id', models.CharField(max_length=200)),
                ('key', models.BigIntegerField(editable=False)),
                ('mode', models.CharField(choices=[('exclusive', 'Exclusive'), ('shared', 'Shared')], default='exclusive', max_length=10)),
                ('state', django_fsm.FSMField(choices=[('waiting', 'Waiting'), ('granted', 'Granted'), ('cancelled', 'Cancelled'), ('timed_out', 'Timed Out')], default='waiting', max_length=10, protected=True)),
                ('task_id', models.UUIDField(blank=True, null=True)),
                ('instance_id', models.UUIDField(blank=True, null=True)),
                ('priority', models.PositiveSmallIntegerField(choices=[(1, 'Critical'), (2, 'High'), (3, 'Normal'), (4, 'Low')], default=3)),
                ('number', models.BigIntegerField(editable=False, unique=True)),
                ('lease_seconds', models.PositiveIntegerField(default=3600)),
                ('queued_at', models.DateTimeField()),
                ('wait_until', models.DateTimeField()),
                ('ended_at', models.DateTimeField(blank=True, null=True)),
                ('reason', models.CharField(blank=True, max_length=500)),
                ('metadata', models.JSONField(blank=True, default=dict, encoder=django.core.serializers.json.DjangoJSONEncoder)),
            ],
            bases=(django_fsm.FSMModelMixin, models.Model),
        ),
        migrations.AddField(
            model_name='resourcelock',
            name='contended',
            field=models.BooleanField(db_default=False, default=False, editable=False),
        ),
        migrations.AddField(
            model_name='resourcelock',
            name='instance_id',
            field=models.UUIDField(blank=True, null=True),
        ),
        migrations.AlterField(
            model_name='resourcelock',
            name='release_reason',
            field=models.CharField(blank=True, max_length=500),
        ),
        migrations.AddIndex(
            model_name='resourcelock',
            index=models.Index(condition=models.Q(('released_at', None)), fields=['holder'], name='lock_of_holder'),
        ),
        migrations.AddIndex(
            model_name='resourcelock',
            index=models.Index(condition=models.Q(('instance_id__isnull', False), ('released_at', None)), fields=['instance_id'], name='lock_of_instance'),
        ),
        migrations.AddIndex(
            model_name='resourcelock',
            index=models.Index(fields=['team', '-id'], name='lock_of_team'),
        ),
        migrations.AddField(
            model_name='lockrequest',
            name='lock',
            field=models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='request', to='guardian.resourcelock'),
        ),
        migrations.AddField(
            model_name='lockrequest',
            name='requester',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='lockrequest',
            name='team',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='guardian.team'),
        ),
        migrations.AddIndex(
            model_name='lockrequest',
            index=models.Index(condition=models.Q(('state', 'waiting')), fields=['key', 'priority', 'number'], name='lock_request_line'),
        ),
        migrations.AddIndex(
            model_name='lockrequest',
            index=models.Index(condition=models.Q(('state', 'waiting')), fields=['wait_until'], name='lock_request_due'),
        ),
        migrations.AddIndex(
            model_name='lockrequest',
            index=models.Index(condition=models.Q(('state', 'waiting'), ('task_id__isnull', False)), fields=['task_id'], name='lock_request_of_task'),
        ),
        migrations.AddIndex(
            model_name='lockrequest',
            index=models.Index(fields=['team', '-id'], name='lock_request_of_team'),
        ),
        migrations.AddConstraint(
            model_name='lockrequest',
            constraint=models.UniqueConstraint(condition=models.Q(('state', 'waiting')), fields=('requester', 'task_id', 'key'), name='lock_request_waits_once_per_requester_task_and_resource', nulls_distinct=False),
        ),
        migrations.AddConstraint(
            model_name='lockrequest',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('lock__isnull', False), ('state', 'granted')), models.Q(models.Q(('state', 'granted'), _negated=True), ('lock', None)), _connector='OR'), name='lock_request_has_a_lock_exactly_when_granted'),
        ),
        migrations.AddConstraint(
            model_name='lockrequest',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('ended_at', None), ('state', 'waiting')), models.Q(models.Q(('state', 'waiting'), _negated=True), ('ended_at__isnull', False)), _connector='OR'), name='lock_request_has_ended_exactly_when_not_waiting'),
        ),
        migrations.AddConstraint(
            model_name='lockrequest',
            constraint=models.CheckConstraint(condition=models.Q(('mode__in', ['exclusive', 'shared']), ('priority__range', (1, 4))), name='lock_request_mode_and_priority_are_known'),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='lockrequest',
            trigger=pgtrigger.compiler.Trigger(name='lock_request_state_edges', sql=pgtrigger.compiler.UpsertTriggerSql(declare='DECLARE _is_valid_transition BOOLEAN;', func='SELECT CONCAT(OLD."state", \':\', NEW."state") = ANY(\'{waiting:granted,waiting:cancelled,waiting:timed_out}\'::text[]) INTO _is_valid_transition; IF (_is_valid_transition IS FALSE AND OLD."state" IS DISTINCT FROM NEW."state") THEN RAISE EXCEPTION \'pgtrigger: Invalid transition of field "state" from "%" to "%" on table %\', OLD."state", NEW."state", TG_TABLE_NAME; ELSE RETURN NEW; END IF;', hash='407009353bedb49c9832f7fa14a0cd7aa1b7bf86', operation='UPDATE', pgid='pgtrigger_lock_request_state_edges_c6043', table='guardian_lockrequest', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='lockrequest',
            trigger=pgtrigger.compiler.Trigger(name='lock_request_starts_waiting', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (NEW."state" IS DISTINCT FROM \'waiting\')', func="RAISE EXCEPTION 'a lock request starts waiting' USING ERRCODE = 'check_violation';", hash='7bfabf15bbe48b5aa44a93db437b3194e0550dc1', operation='INSERT', pgid='pgtrigger_lock_request_starts_waiting_2589a', table='guardian_lockrequest', when='BEFORE')),
        ),
    ]
