"""Markdown, kept as it is; headings become sections."""

from __future__ import annotations

import re
from pathlib import Path

from bakeoff.corpus.loaders import Loaded
from bakeoff.corpus.loaders.text import read

SUFFIXES = (".md", ".markdown", ".mdx")
VERSION = 2

_HEADING = re.compile(r"(#{1,6})\s+(.+?)\s*#*\s*$")


def load(path: Path) -> Loaded:
    """Sections follow the `#` headings outside code fences; the title is the front matter's, else the first heading."""
    text = read(path)
    title = ""
    if front := re.match(r"---\n(.*?)\n---\n", text, re.DOTALL):
        found = re.search(r"^title:\s*[\"']?(.+?)[\"']?\s*$", front[1], re.MULTILINE)
        title = found[1] if found else ""
    sections: list[tuple[int, str]] = []
    open_headings: list[tuple[int, str]] = []
    fenced, offset = False, 0
    for line in text.splitlines(keepends=True):
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
        elif not fenced and (heading := _HEADING.match(line)):
            level = len(heading[1])
            open_headings = [entry for entry in open_headings if entry[0] < level] + [(level, heading[2])]
            sections.append((offset, " > ".join(name for _, name in open_headings)))
            title = title or heading[2]
        offset += len(line)
    return Loaded(text, title, sections=tuple(sections))
