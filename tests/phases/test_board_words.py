"""What the board's templates make of names and of reports that others wrote."""

import pytest

from phases.templatetags.board import initials, prose

pytestmark = pytest.mark.selfcheck


@pytest.mark.parametrize(
    ("name", "letters"),
    [
        ("ana", "AN"),
        ("Repo checks", "RC"),
        ("coder-1", "CO"),
        ("x", "X"),
        ("", ""),
        ("a_b c", "AB"),
    ],
)
def test_marks_a_name_with_two_letters(name, letters):
    assert initials(name) == letters


def test_writes_headings_lists_and_code():
    text = "# Checkup\n\nTwo\nlines.\n\n- Lines: 3\n  - CSS: 1\n  - HTML: 2\n- `pytest -q`\n## End"

    assert prose(text).replace("\n", "") == (
        "<h4>Checkup</h4><p>Two lines.</p>"
        "<ul><li>Lines: 3<ul><li>CSS: 1</li><li>HTML: 2</li></ul></li>"
        "<li><code>pytest -q</code></li></ul><h5>End</h5>"
    )


@pytest.mark.parametrize(
    "line",
    [
        "<script>alert(1)</script>",
        "# <img src=x onerror=alert(1)>",
        "- <b>bold</b>",
        "`<i>`",
        "&lt;script&gt;",
        "[link](javascript:alert(1))",
    ],
)
def test_leaves_text_of_others_the_text_it_is(line):
    made = prose(line)

    for tag in ("<script", "<img", "<b>", "<i>", "<a"):
        assert tag not in made
    assert "&lt;script&gt;" not in prose("&lt;script&gt;")


def test_closes_what_it_opens_however_deep_the_list():
    made = prose("        - far in\n- out\n    - in\n      - deeper\ntext")

    assert made.count("<ul>") == made.count("</ul>")
    assert made.count("<li>") == made.count("</li>")
