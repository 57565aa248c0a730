"""The admin shows memory and changes nothing."""

import pytest
from django.test import Client
from django.urls import reverse

from memory import services
from tests.memory_factories import remember

MODELS = ["memoryrecord", "memoryembedding", "memoryuse"]


@pytest.mark.parametrize("model", MODELS)
def test_every_model_is_listed_searched_and_shown(team, admin, agent, model):
    record = remember(team, agent)
    services.record_uses(
        team_id=team.pk, run_id=record.run_id, task_id=record.task_id, record_ids=[record.pk]
    )
    rows = {
        "memoryrecord": record,
        "memoryembedding": record.embeddings.get(),
        "memoryuse": record.uses.get(),
    }
    client = Client()
    client.force_login(admin.user)

    listed = client.get(reverse(f"admin:memory_{model}_changelist"), {"q": "checks"})
    shown = client.get(reverse(f"admin:memory_{model}_change", args=[rows[model].pk]))
    added = client.get(reverse(f"admin:memory_{model}_add"))

    assert (listed.status_code, shown.status_code, added.status_code) == (200, 200, 403)
    assert "Run the checks" in listed.content.decode()
