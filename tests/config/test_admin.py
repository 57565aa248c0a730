"""Every model is listed for operators, can be searched, and is changed by nobody by hand."""

import pytest
from django.apps import apps
from django.test import Client
from django.urls import reverse

from phases import services as phases

MODELS = [
    model
    for label in ("guardian", "phases", "tools", "memory", "orchestrator")
    for model in apps.get_app_config(label).get_models()
]


@pytest.fixture
def browser(admin):
    client = Client()
    client.force_login(admin.user)
    return client


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m._meta.label_lower)
def test_lists_and_searches_each_model(model, browser, admin):
    phases.seed_team(team=admin.team)
    phases.open_ticket(actor=admin, title="Retry storm", workflow="software_development")
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")

    assert browser.get(url).status_code == 200
    assert browser.get(url, {"q": "retry"}).status_code == 200


def test_home_leads_somewhere(browser):
    assert browser.get("/", follow=True).status_code == 200


def test_a_viewer_is_shown_the_door(viewer):
    client = Client()
    client.force_login(viewer.user)

    assert client.get("/admin/").status_code == 302
