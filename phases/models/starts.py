"""What a row with states may begin as, refused by the database."""

import pgtrigger


def starts(row: str, field: str, *states: str) -> pgtrigger.Trigger:
    """A new row has one of these states in this field; check_violation else."""
    words = f"{row.replace('_', ' ')} starts {' or '.join(states)}"
    return pgtrigger.Trigger(
        name=f"{row}_starts_{states[0]}",
        when=pgtrigger.Before,
        operation=pgtrigger.Insert,
        condition=~pgtrigger.Q(**{f"new__{field}__in": list(states)}),
        func=f"RAISE EXCEPTION 'a {words}' USING ERRCODE = 'check_violation';",
    )
