"""Without django-unfold the plain admin shows the same pages and buttons."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

ROOT = Path(__file__).resolve().parents[2]
VISIT = """
import django
django.setup()
from django.contrib import admin
from django.db import transaction
from django.test import Client
from django.test.utils import setup_test_environment
from django.urls import reverse
from guardian.operators import RecordAdmin
from phases import services
from phases.models import Task
from tests import factories

setup_test_environment()
with transaction.atomic():
    team = factories.make_team("plain")
    ada = factories.make_actor(team, "plain-ada", role="admin", authority=5)
    services.seed_team(team=team)
    ticket = services.open_ticket(actor=ada, title="Plain", workflow="software_development")
    task = Task.objects.get(ticket=ticket)
    client = Client()
    client.force_login(ada.user)
    pages = ["/admin/", "/admin/phases/task/", f"/admin/phases/task/{task.pk}/change/",
             f"/admin/phases/task/{task.pk}/press/cancel/"]
    for page in pages:
        answer = client.get(page)
        assert answer.status_code == 200, (page, answer.status_code)
        assert "lemnos/admin.css" in answer.content.decode(), page
    seen = client.get(pages[-1]).context["seen"]
    client.post(pages[-1], {"reason": "not needed", "seen": seen})
    assert Task.objects.get(pk=task.pk).status == "cancelled"
    assert not any("unfold" in c.__module__ for c in RecordAdmin.__mro__)
    transaction.set_rollback(True)
print("visited")
"""


@pytest.mark.slow
@pytest.mark.django_db
def test_shows_pages_and_presses_buttons():
    database = connection.settings_dict
    url = f"postgres://{database['USER']}@/{database['NAME']}?host={database['HOST']}"

    done = subprocess.run(
        [sys.executable, "-c", VISIT],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.config.plain_settings",
            "DATABASE_URL": url,
            "LEMNOS_SECRET_KEY": settings.SECRET_KEY,
            "LEMNOS_TOKEN_PEPPERS": "t1:" + "00" * 32,
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )

    assert done.stdout.strip().endswith("visited"), done.stderr[-3000:]
