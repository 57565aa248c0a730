"""source_look: whether an archive holds a file, and a text in it; nothing of it is run."""

import source

MAX_TEXT = 32 * 1024 * 1024


def main() -> None:
    asked = source.options()
    top, _ = source.open_source()
    top = top.resolve()
    path = (top / asked["path"]).resolve()
    there = path.is_relative_to(top) and path.is_file()
    size = path.stat().st_size if there else None
    found = None
    if there and "text" in asked:
        with path.open("rb") as file:
            found = str(asked["text"]).encode() in file.read(MAX_TEXT)
    source.answer({"exists": there, "size": size, "contains": found})


with source.refusals_answered():
    main()
