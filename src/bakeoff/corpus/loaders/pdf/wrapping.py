"""Undo what a layout does to lines of text."""

from __future__ import annotations

import re


def unbroken(text: str) -> str:
    """Without the hyphens that the layout put at line ends; the lines stay."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")
    # pdfium writes U+FFFE or U+00AD for the hyphen that the layout put in.
    text = re.sub(r"(?<=\w)[\ufffe\u00ad]\n?(?=\w)", "", text)
    return re.sub(r"(?<=[a-z])-\n(?=[a-z])", "", text)


def joined(text: str) -> str:
    """The lines of a paragraph as one; short lines, as in lists and tables, stay."""
    lines = [line.strip() for line in unbroken(text).split("\n")]
    full = 0.6 * max(map(len, lines), default=0)
    whole = ""
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        wrapped = len(line) >= full and line and after and not line.endswith((".", ":", "?", "!"))
        whole += line + (" " if wrapped else "\n")
    return whole.strip()
