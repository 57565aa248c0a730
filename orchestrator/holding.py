"""What the orchestrator answers when an agent takes a lock: which instance of it that is."""

from guardian import holders
from orchestrator.models.agents import LIVE

_STATES = ", ".join(f"'{state}'" for state in LIVE)
# The row stays as it is until the lock is there: who stops the instance then finds it.
INSTANCE = f"""
SELECT id FROM orchestrator_agentinstance
 WHERE user_id = %(holder)s::uuid AND state IN ({_STATES}) FOR SHARE
"""  # noqa: S608  constants of orchestrator.models

holders.hold_as_instance(INSTANCE)
