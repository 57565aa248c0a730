"""count_lines: files, lines, words and bytes of a text or of an archive's regular files."""

import archive
import source


def count(content: bytes) -> tuple[int, int, int]:
    lines = content.count(b"\n") + (1 if content and not content.endswith(b"\n") else 0)
    return lines, len(content.split()), len(content)


def main() -> None:
    asked = source.options()
    if "text" in asked:
        contents = [asked["text"].encode()]
    else:
        top, _ = source.open_source()
        contents = (path.read_bytes() for path in archive.walk(top))
    totals = [0, 0, 0]
    files = 0
    for content in contents:
        files += 1
        totals = [total + one for total, one in zip(totals, count(content), strict=True)]
    source.answer({"files": files, "lines": totals[0], "words": totals[1], "bytes": totals[2]})


with source.refusals_answered():
    main()
