"""reStructuredText, kept as it is; underlined headings become sections."""

from __future__ import annotations

import re
from pathlib import Path

from bakeoff.corpus.loaders import Loaded
from bakeoff.corpus.loaders.text import read

SUFFIXES = (".rst",)
VERSION = 2

_RULE = re.compile(r"([=\-~^\"'`#*+:.<>_])\1{2,}\s*$")


def load(path: Path) -> Loaded:
    """A line with a rule below it (perhaps above too) is a heading; the kind of rule seen first ranks highest."""
    text = read(path)
    lines = text.splitlines(keepends=True)
    ranks: list[tuple[str, bool]] = []
    sections: list[tuple[int, str]] = []
    open_headings: list[tuple[int, str]] = []
    offset, title = 0, ""
    for number, line in enumerate(lines):
        below = lines[number + 1] if number + 1 < len(lines) else ""
        above = lines[number - 1] if number else ""
        words = line.strip()
        if words and not _RULE.match(line) and (rule := _RULE.match(below)) and len(below.strip()) >= len(words):
            overlined = above.strip() == below.strip()
            kind = (rule[1], overlined)
            if kind not in ranks:
                ranks.append(kind)
            level = ranks.index(kind)
            open_headings = [entry for entry in open_headings if entry[0] < level] + [(level, words)]
            start = offset - len(above) if overlined else offset
            sections.append((start, " > ".join(name for _, name in open_headings)))
            title = title or words
        offset += len(line)
    return Loaded(text, title, sections=tuple(sections))
