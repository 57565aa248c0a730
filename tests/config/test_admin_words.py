"""What operators read in the admin: plurals, empty lists, spans of time, and what needs them."""

import re
from decimal import Decimal

import pytest
from django.contrib import admin as django_admin
from django.test import Client
from django.urls import reverse

from guardian import links
from guardian.columns import told_figure, told_span
from guardian.services import change_budget, create_budget
from phases import services as phases
from phases.models import Task
from tests.tools.archives import PASSING, tar_gz
from tools import runner
from tools import services as tools
from tools.models import ToolExecution


@pytest.fixture
def browser(admin):
    client = Client()
    client.force_login(admin.user)
    return client


def list_of(client, model, **where):
    return client.get(links.list_of(model, **where)).content.decode()


def test_no_plural_is_made_by_adding_an_s_where_english_does_not():
    wrong = re.compile(r"(ch|sh|x|ss|[^aeiou]y)s$")
    plurals = {str(m._meta.verbose_name_plural) for m in django_admin.site._registry}

    assert {plural for plural in plurals if wrong.search(plural)} == set()
    assert {"runtime switches", "API tokens", "deliveries"} <= plurals


class TestEmptyLists:
    def test_offer_nothing_that_cannot_be_done(self, browser):
        for model, model_admin in django_admin.site._registry.items():
            if model._meta.app_label == "procrastinate":
                continue
            text = list_of(browser, model)
            assert "Create a new item" not in text, model
            if f"No {model._meta.verbose_name_plural} yet" in text:
                assert getattr(model_admin, "when_empty", "?") in text, model

    def test_say_so_when_only_the_filters_hide_the_rows(self, browser):
        text = browser.get(reverse("admin:guardian_team_changelist"), {"q": "zzz"}).content.decode()

        assert "No row matches" in text
        assert "Clear search and filters" in text


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.0004, "0 ms"), (0.34, "340 ms"), (0.9996, "1.0 s"), (1.2345678, "1.2 s"),
        (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min"), (180, "3 min"), (7500, "2 h 5 min"),
    ],
)  # fmt: skip
def test_a_span_is_told_with_as_much_detail_as_matters(seconds, told):
    assert told_span(seconds) == told


class TestRuns:
    @pytest.fixture
    def run(self, team, admin):
        tools.seed_team(team=team)

        def go(content: bytes) -> ToolExecution:
            file, _ = tools.store_file(actor=admin, name="source.tar.gz", content=content)
            asked = tools.request_execution(
                tool="source_inventory", actor=admin, input={"archive_id": str(file.pk)},
                origin="upload",
            )  # fmt: skip
            return runner.run(asked.pk)

        return go

    def broken(self, client):
        tiles = client.get("/admin/").context["attention"]
        found = next(tile for tile in tiles if tile["title"].startswith("Runs that broke down"))
        return found["count"], found["url"]

    def test_a_refused_archive_is_no_breakdown_and_a_lost_sandbox_is(self, browser, run, admin):
        assert run(b"this is no archive").status == "failed"
        assert self.broken(browser)[0] == 0

        file, _ = tools.store_file(actor=admin, name="s.tar.gz", content=tar_gz(PASSING))
        lost = tools.request_execution(
            tool="source_inventory", actor=admin, input={"archive_id": str(file.pk)},
            origin="upload",
        )  # fmt: skip
        tools.refuse_execution(
            execution_id=lost.pk, result_class="infra_error", error="the engine is gone"
        )

        count, address = self.broken(browser)
        assert count == 1
        listed = browser.get(address).context["cl"].queryset
        assert [row.pk for row in listed] == [lost.pk]

    def test_how_long_it_took_is_told_in_the_list_and_on_its_page(self, browser, run):
        done = run(tar_gz(PASSING))
        ToolExecution.objects.filter(pk=done.pk).update(execution_time_ms=1234)

        assert "1.2\u00a0s" in list_of(browser, ToolExecution)
        page = browser.get(links.page_of(done)).content.decode()
        assert "1.2\u00a0s" in page
        assert "1234" not in page


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("7.0000000000", "7.00"),
        ("0E-10", "0.00"),
        ("0.800", "0.80"),
        ("0.0000012000", "0.0000012"),
        ("1200", "1200.00"),
    ],
)
def test_figures_are_told_without_places_that_say_nothing(value, told):
    assert told_figure(Decimal(value)) == told


class TestBudgetPages:
    @pytest.fixture
    def budget(self, admin):
        return create_budget(actor=admin, scope_type="team", limit=Decimal(7), reason="for a while")

    def test_tell_money_as_people_write_it(self, browser, budget):
        row = browser.get(links.page_of(budget)).content.decode()

        assert "budget of team" in row
        for text in (list_of(browser, type(budget)), row):
            assert "7.00" in text
            assert not {"7.0000000000", "0E-10", "0.800"} & set(re.findall(r"[\dE.-]+", text))

    def test_their_form_begins_with_what_is_and_shows_what_changed(self, browser, admin, budget):
        url = reverse("admin:guardian_budget_press", args=[budget.pk, "change"])
        page = browser.get(url).content.decode()
        seen = re.search(r'name="seen" value="([^"]+)"', page)[1]
        change_budget(actor=admin, budget_id=budget.pk, version=1, limit=Decimal(9))
        late = browser.post(url, {"seen": seen, "limit": "11", "reason": "more is needed"})

        assert 'value="7.00"' in page
        assert "<del>7.00</del></td><td><ins>9.00</ins>" in late.content.decode()


class TestNames:
    @pytest.fixture
    def ticket(self, team, admin):
        phases.seed_team(team=team)
        return phases.open_ticket(actor=admin, title="Ship", workflow="software_development")

    def test_a_ticket_is_found_by_its_label_and_so_are_its_tasks(self, browser, ticket):
        label = f"LEM-{ticket.number}"

        for model in (type(ticket), Task):
            found = browser.get(links.list_of(model), {"q": label}).content.decode()
            none = browser.get(links.list_of(model), {"q": "LEM-99999"}).content.decode()
            assert ("No row matches" in found, "No row matches" in none) == (False, True), model

    def test_a_press_asks_by_the_name_without_the_id(self, browser, ticket):
        task = Task.objects.get(ticket=ticket)

        page = browser.get(reverse("admin:phases_task_press", args=[task.pk, "cancel"]))

        assert f"Cancel: {task.title}</h2>" in page.content.decode()
