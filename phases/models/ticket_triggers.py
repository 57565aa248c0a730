"""What the database does by itself when a ticket changes: counts, and asks for its history."""

import pgtrigger

# Counts of a column, kept in the transaction that changes a ticket: (admitted, queued, total).
_COUNT = """
    IF TG_OP <> 'INSERT' THEN
        UPDATE phases_boardcolumn SET
            total_count = total_count - 1,
            admitted_count = admitted_count - (OLD.status IN ('pending', 'in_progress')
                AND OLD.admitted_at IS NOT NULL)::int,
            queued_count = queued_count - (OLD.status IN ('pending', 'in_progress')
                AND OLD.approval_status IN ('not_required', 'approved')
                AND OLD.admitted_at IS NULL)::int
        WHERE id = OLD.column_id;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        UPDATE phases_boardcolumn SET
            total_count = total_count + 1,
            admitted_count = admitted_count + (NEW.status IN ('pending', 'in_progress')
                AND NEW.admitted_at IS NOT NULL)::int,
            queued_count = queued_count + (NEW.status IN ('pending', 'in_progress')
                AND NEW.approval_status IN ('not_required', 'approved')
                AND NEW.admitted_at IS NULL)::int
        WHERE id = NEW.column_id;
    END IF;
    RETURN NULL;
"""


TICKET_TRIGGERS = [
    pgtrigger.Trigger(
        name="ticket_counts_in_its_column",
        when=pgtrigger.After,
        operation=pgtrigger.Insert
        | pgtrigger.Delete
        | pgtrigger.UpdateOf("status", "admitted_at", "column_id", "approval_status"),
        func=_COUNT,
    ),
    pgtrigger.Trigger(
        name="ticket_phase_has_its_history",
        when=pgtrigger.After,
        timing=pgtrigger.Deferred,
        operation=pgtrigger.Insert | pgtrigger.UpdateOf("phase_id"),
        func="""
            IF TG_OP = 'UPDATE' AND NEW.phase_id = OLD.phase_id THEN
                RETURN NULL;
            END IF;
            -- An older version has a row of its own already.
            IF TG_OP = 'UPDATE' AND NEW.version <= OLD.version OR NOT EXISTS (
                SELECT 1 FROM phases_phasehistory h
                 WHERE h.ticket_id = NEW.id AND h.to_phase_id = NEW.phase_id
                   AND h.ticket_version = NEW.version
            ) THEN
                RAISE EXCEPTION 'a ticket changes its phase only with a history row'
                    USING ERRCODE = 'restrict_violation';
            END IF;
            RETURN NULL;
        """,
    ),
]
