"""Each model's list: searched, filtered, linked both ways, as cheap for many rows as for few."""

import re

import pytest
from django.contrib import admin
from django.contrib.sessions.backends.db import SessionStore
from django.db import connection, transaction
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import resolve

from guardian import links
from guardian.operators import RecordAdmin
from tests.config.admin_world import MODELS, first_rows, make_full_world, multiply
from tests.factories import make_team

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
MOST_QUERIES = 12
STAMP = re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\b(?! UTC)")
ROW = re.compile(r"(?<==)[^&]*|(?<=/)[^/]*(?=/change/)")
AMERICAN = re.compile(r"\b[ap]\.m\.")


@pytest.fixture(scope="module")
def full(django_db_setup, django_db_blocker):
    """One world for all of these: it takes seconds, and only reading goes on in it."""
    with django_db_blocker.unblock(), transaction.atomic():
        make_team("island")
        yield make_full_world()
        transaction.set_rollback(True)


@pytest.fixture(scope="module")
def browser(full):
    client = Client()
    client.force_login(full.people["admin"].user)
    return client


def ask(browser, url) -> tuple[list[str], int]:
    """What the list asks the database, and how many rows it shows."""
    with CaptureQueriesContext(connection) as seen:
        answer = browser.get(url)
    assert answer.status_code == 200, url
    asked = [query["sql"] for query in seen.captured_queries]
    return asked, len(answer.context["cl"].result_list)


def leads_somewhere(url, user) -> bool:
    """Whether the list knows the lookups, or the row is there; without drawing the page."""
    path, _, _ = url.partition("?")
    found = resolve(path)
    if not path.startswith("/admin/"):
        return True  # the board's own tests look there
    request = RequestFactory().get(url)
    request.user = user
    request.session = SessionStore()
    its = next(a for m, a in admin.site._registry.items() if path.startswith(links.list_of(m)))
    if "object_id" in found.kwargs:
        return its.get_object(request, found.kwargs["object_id"]) is not None
    return its.get_changelist_instance(request).queryset.count() >= 0


def test_every_model_has_a_search_a_filter_and_columns():
    lacking = {
        model._meta.label
        for model, its in admin.site._registry.items()
        if not (its.search_fields and its.list_filter and len(its.list_display) > 1)
        or not isinstance(its, RecordAdmin)
    }

    assert lacking == set()


def test_each_row_tells_its_times_with_their_zone_and_leads_both_ways(full, browser):
    dead, bare = [], []
    ways: dict[str, str] = {}
    for model, row in first_rows(full.team).items():
        page = browser.get(links.page_of(row))
        assert page.status_code == 200, model
        listed = browser.get(links.list_of(model)).content.decode()
        for text in (page.content.decode(), listed):
            bare += [(model, found) for found in STAMP.findall(text)]
            assert not AMERICAN.search(text), model
        urls = [*page.context["ways_up"].values(), *page.context["ways_down"].values()]
        assert urls, model
        # One of each kind of way: the pages of one model differ by their row alone.
        ways |= {ROW.sub("", url): url for url in urls}
    dead += [url for url in ways.values() if not leads_somewhere(url, full.people["admin"].user)]

    assert (dead, bare) == ([], [])


def test_what_a_row_names_leads_back_to_it(full):
    """Along every foreign key between models of the admin, as far as rows go."""
    lost = []
    for model, row in first_rows(full.team).items():
        for field in model._meta.concrete_fields:
            target = field.related_model
            if target not in admin.site._registry or getattr(row, field.attname) is None:
                continue
            back = links.ways_down(getattr(row, field.name))
            if not any(links.list_of(model) in url for url in back.values()):
                lost.append(f"{model._meta.label}.{field.name}")

    assert lost == []


def test_a_filter_offers_nothing_of_other_teams(browser):
    pages = {model: browser.get(links.list_of(model)).content.decode() for model in MODELS}

    assert [model for model, text in pages.items() if "Island" in text] == []


def test_a_list_asks_as_little_for_sixty_rows_as_for_three(full, browser):
    rows = first_rows(full.team)
    assert [model._meta.label for model, row in rows.items() if row is None] == []
    chief = full.people["admin"].user
    multiply(rows, times=2, seen_by=chief)
    few = {model: len(ask(browser, links.list_of(model))[0]) for model in MODELS}

    multiply(rows, times=58, seen_by=chief)
    for model in MODELS:
        many, shown = ask(browser, links.list_of(model))
        assert shown >= 50, model
        assert len(many) <= min(MOST_QUERIES, few[model]), (model, many)
