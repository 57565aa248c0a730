"""How the board's templates write names and reports."""

import re
from collections.abc import Iterator

from django import template
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

register = template.Library()

_HEADING = re.compile(r"(#{1,4}) +(.+)")
_ITEM = re.compile(r"( *)[-*] +(.+)")
_CODE = re.compile(r"`([^`\n]+)`")


@register.filter
def initials(name: str) -> str:
    """Two letters for a mark: of the first two words, else of the one."""
    words = [word for word in re.split(r"[\s_]+", name) if word]
    letters = words[0][0] + words[1][0] if len(words) > 1 else name[:2]
    return letters.upper()


@register.filter
def prose(text: str) -> SafeString:
    """Headings, lists, paragraphs and `code` of Markdown; everything else stays the text it is."""
    return mark_safe("\n".join(_blocks(text.splitlines())))  # noqa: S308  each line was escaped


def _blocks(lines: list[str]) -> Iterator[str]:
    """Each line is escaped before it is wrapped in tags of ours."""
    depth, paragraph = 0, list[str]()
    for line in [*lines, ""]:
        item, heading = _ITEM.fullmatch(line), _HEADING.fullmatch(line)
        ends = bool(item or heading or not line.strip())
        if paragraph and ends:
            yield f"<p>{' '.join(paragraph)}</p>"
            paragraph.clear()
        if ends:
            wanted = min(4, depth + 1, len(item[1]) // 2 + 1) if item else 0
            yield _to_depth(depth, wanted)
            depth = wanted
        if item:
            yield f"<li>{_inline(item[2])}"  # closed by what follows: a list may stand inside
        elif heading:
            # The panel's own headings are h2 and h3.
            level = min(6, len(heading[1]) + 3)
            yield f"<h{level}>{_inline(heading[2])}</h{level}>"
        elif not ends:
            paragraph.append(_inline(line.strip()))


def _to_depth(depth: int, wanted: int) -> str:
    """Close and open lists between two lines."""
    if wanted > depth:
        return "<ul>"
    return "</li></ul>" * (depth - wanted) + ("</li>" if wanted else "")


def _inline(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", escape(text))
