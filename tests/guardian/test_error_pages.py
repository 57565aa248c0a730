"""What people read of a refusal: the page of each error code, and pages where nothing answers."""

import pytest
from django.test import Client
from django.urls import path

from config import urls
from guardian import disk, error_book


def broken(request):
    raise RuntimeError("nobody foresaw this")


def forbidden(request):
    from django.core.exceptions import PermissionDenied

    raise PermissionDenied


urlpatterns = [
    path("broken", broken),
    path("api/v1/broken", broken),
    path("forbidden", forbidden),
    *urls.urlpatterns,
]
handler404, handler500 = urls.handler404, urls.handler500


@pytest.fixture
def browser(db):
    """A person's browser, as far as its headers go."""
    return Client(headers={"accept": "text/html,*/*"}, raise_request_exception=False)


class TestCodes:
    def test_each_code_has_a_page_with_meaning_remedy_status_and_example(self, browser):
        entries = error_book.entries()
        assert len(entries) > 80

        for entry in entries.values():
            assert entry.means.endswith("."), entry.code
            assert entry.remedy, f"{entry.code} does not say what helps"
            page = browser.get(f"/docs/errors/{entry.code}")
            assert page.status_code == 200
            assert page.context["entry"].remedy == entry.remedy
            text = page.content.decode()
            for shown in (entry.title, f"HTTP {entry.status}", "What helps", "Example"):
                assert shown in text, entry.code

    def test_each_error_that_is_raised_has_a_remedy_of_its_own_or_of_its_kind(self):
        silent = {
            kind.__name__
            for kind in error_book.kinds()
            if not kind.remedy and kind.code != "conflict"
        }

        assert silent == set()

    def test_an_example_is_what_the_api_answers(self, browser):
        example = browser.get("/docs/errors/not_found").context["example"]

        answered = browser.get("/api/v1/nowhere").json()
        assert set(answered) == {
            "type", "title", "status", "detail", "instance", "code", "request_id", "remedy",
        }  # fmt: skip
        for name in answered:
            assert f'"{name}":' in example

    def test_the_list_leads_to_each_page(self, browser):
        text = browser.get("/docs/errors").content.decode()

        for code in error_book.entries():
            assert f'href="/docs/errors/{code}"' in text

    def test_a_code_is_told_in_sentences(self):
        assert error_book.told("kill_switch_on") == (
            "The kill switch is on: nothing new starts."
            " Wait until an operator allows new work again:"
            " in the admin on the team's page, below People, Teams."
        )
        assert error_book.told("never_heard_of") == "Never heard of."


@pytest.mark.urls(__name__)
class TestPagesForPeople:
    @pytest.mark.parametrize(
        ("address", "status", "says"),
        [
            ("/nowhere", 404, "There is nothing here"),
            ("/docs/errors/no_such_code", 404, "There is nothing here"),
            ("/forbidden", 403, "Not for you"),
            ("/broken", 500, "Something went wrong here"),
        ],
    )
    def test_look_like_lemnos_and_lead_back(self, browser, address, status, says):
        page = browser.get(address)

        text = page.content.decode()
        assert page.status_code == status
        assert says in text
        assert 'href="/static/lemnos/base.css"' in text
        assert '<a class="button primary" href="/">To the board</a>' in text

    def test_a_fault_names_the_request_and_shows_nothing_of_its_inside(self, browser):
        page = browser.get("/broken")

        text = page.content.decode()
        assert page.headers["X-Request-ID"] in text
        assert "nobody foresaw" not in text

    def test_the_api_goes_on_answering_problems(self, browser):
        for address, status in (("/api/v1/nowhere", 404), ("/api/v1/broken", 500)):
            answer = browser.get(address)
            assert answer.status_code == status
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert answer.json()["remedy"]["text"]

    def test_a_form_from_before_the_login_is_told_to_reload(self):
        strict = Client(enforce_csrf_checks=True)

        page = strict.post("/login", {"username": "x", "password": "y"})

        assert page.status_code == 403
        assert "The page was open too long" in page.content.decode()

    def test_a_full_disk_is_told_as_a_page_to_people_and_as_json_to_programs(
        self, browser, monkeypatch
    ):
        monkeypatch.setattr(disk, "room", lambda: disk.Room(total=100 * 2**30, free=2**20))

        page, answer = browser.post("/login"), browser.post("/api/v1/tickets")

        assert (page.status_code, answer.status_code) == (503, 503)
        assert "Nothing is saved now" in page.content.decode()
        assert answer.json()["code"] == "read_only"
