"""Rich Text Format."""

from __future__ import annotations

from pathlib import Path

from striprtf.striprtf import rtf_to_text

from bakeoff.corpus.loaders import Loaded

SUFFIXES = (".rtf",)
VERSION = 1


def load(path: Path) -> Loaded:
    """The text without its formatting; pictures are not read."""
    source = path.read_bytes().decode("latin-1")  # RTF is ASCII; other characters stand as escapes
    if not source.lstrip().startswith("{\\rtf"):
        raise ValueError("not a readable RTF; open and save it again")
    text: str = rtf_to_text(source, errors="replace")  # type: ignore[no-untyped-call]
    return Loaded(text.strip())
