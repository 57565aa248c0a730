"""source_inventory: what an archive holds, parsed as data; nothing of it is run."""

import re
from collections import Counter
from pathlib import Path

import archive
import source

LANGUAGES = {
    ".py": "Python", ".pyi": "Python", ".pyx": "Cython", ".c": "C", ".h": "C", ".cc": "C++",
    ".cpp": "C++", ".hpp": "C++", ".rs": "Rust", ".go": "Go", ".java": "Java", ".kt": "Kotlin",
    ".js": "JavaScript", ".mjs": "JavaScript", ".jsx": "JavaScript", ".ts": "TypeScript",
    ".tsx": "TypeScript", ".rb": "Ruby", ".php": "PHP", ".cs": "C#", ".swift": "Swift",
    ".sh": "Shell", ".bash": "Shell", ".sql": "SQL", ".html": "HTML", ".css": "CSS",
    ".md": "Markdown", ".rst": "reStructuredText", ".txt": "Text", ".toml": "TOML",
    ".yaml": "YAML", ".yml": "YAML", ".json": "JSON", ".ini": "INI", ".cfg": "INI", ".xml": "XML",
}  # fmt: skip
LICENCES = [
    ("Apache-2.0", r"Apache License,?\s+Version 2\.0"),
    ("AGPL-3.0", r"GNU AFFERO GENERAL PUBLIC LICENSE"),
    ("LGPL", r"GNU (LESSER|LIBRARY) GENERAL PUBLIC LICENSE"),
    ("GPL-3.0", r"GNU GENERAL PUBLIC LICENSE\s+Version 3"),
    ("GPL-2.0", r"GNU GENERAL PUBLIC LICENSE\s+Version 2"),
    ("MPL-2.0", r"Mozilla Public License,? [Vv]ersion 2\.0"),
    ("PSF-2.0", r"PYTHON SOFTWARE FOUNDATION LICENSE"),
    ("Unlicense", r"This is free and unencumbered software"),
    ("ISC", r"Permission to use, copy, modify, and/or distribute"),
    ("BSD-3-Clause", r"Redistribution and use in source[\s\S]*(Neither|names? of)"),
    ("BSD-2-Clause", r"Redistribution and use in source"),
    ("MIT", r"Permission is hereby granted, free of charge"),
]
LICENCE_FILE = re.compile(r"(licen[cs]e|copying|unlicense)([.\-_].*)?\Z", re.IGNORECASE)
TEST_FILE = re.compile(r"(test_.*|.*_tests?)\.py\Z")
DECLARED = re.compile(r"^License(?:-Expression)?:\s*(.+)$", re.MULTILINE)
MAX_TEXT = 8 * 1024 * 1024


def licence_of(top: Path) -> str | None:
    """The licence by its text, else as declared in PKG-INFO, else None."""
    for path in sorted(top.iterdir()):
        if path.is_file() and LICENCE_FILE.match(path.name):
            text = path.read_bytes()[:100_000].decode("utf-8", "replace")
            for name, pattern in LICENCES:
                if re.search(pattern, text):
                    return name
            return f"own text ({archive.printable(path.name)})"
    for name in ("PKG-INFO", "METADATA"):
        if (top / name).is_file():
            found = DECLARED.search((top / name).read_bytes()[:100_000].decode("utf-8", "replace"))
            if found and found[1].strip().upper() != "UNKNOWN":
                return archive.printable(found[1].strip())
    return None


def main() -> None:
    top, report = source.open_source()
    lines: Counter[str] = Counter()
    tests = 0
    for path in archive.walk(top):
        tests += bool(TEST_FILE.match(path.name))
        language = LANGUAGES.get(path.suffix.lower())
        if language and path.stat().st_size <= MAX_TEXT:
            content = path.read_bytes()
            if b"\0" not in content[:8192]:
                lines[language] += content.count(b"\n") + (content[-1:] not in (b"", b"\n"))
    source.answer(
        {
            **report,
            "lines": dict(lines.most_common()),
            "lines_total": sum(lines.values()),
            "has_tests": tests > 0,
            "test_files": tests,
            "licence": licence_of(top),
            "top_folder": archive.printable(top.name) if top != source.UNPACKED else None,
        }
    )


with source.refusals_answered():
    main()
