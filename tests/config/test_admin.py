"""Every model is listed for operators, can be searched, and is changed by nobody by hand."""

import pytest
from django.apps import apps
from django.test import Client
from django.urls import reverse

from phases import services as phases

APPS = ("guardian", "phases", "tools", "memory", "orchestrator")


@pytest.fixture
def browser(admin):
    client = Client()
    client.force_login(admin.user)
    return client


@pytest.mark.parametrize("label", APPS)
def test_lists_and_searches_each_model_in_a_few_questions(
    label, browser, admin, django_assert_max_num_queries
):
    phases.seed_team(team=admin.team)
    phases.open_ticket(actor=admin, title="Retry storm", workflow="software_development")

    for model in apps.get_app_config(label).get_models():
        url = reverse(f"admin:{label}_{model._meta.model_name}_changelist")
        with django_assert_max_num_queries(12, info=model):
            assert browser.get(url).status_code == 200, model
        assert browser.get(url, {"q": "retry"}).status_code == 200, model


def test_home_leads_somewhere(browser):
    assert browser.get("/", follow=True).status_code == 200


def test_a_viewer_is_shown_the_door(viewer):
    client = Client()
    client.force_login(viewer.user)

    assert client.get("/admin/").status_code == 302
