"""HTML: the visible text, headings as sections, tables row by row."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

from selectolax.lexbor import LexborHTMLParser, LexborNode

from bakeoff.corpus.loaders import Loaded, Outline, table
from bakeoff.corpus.loaders.text import read

SUFFIXES = (".html", ".htm", ".xhtml", ".xml")
VERSION = 3

_UNSEEN = ["script", "style", "template", "noscript", "nav", "svg", "iframe"]
SPAN = 100
_EMPTY = re.compile(r"<(title|script|style|textarea|iframe|noscript|template)\b([^<>]*)/>", re.IGNORECASE)
_CDATA = re.compile(r"<!\[CDATA\[(.*?)\]\]>", re.DOTALL)
_BLOCKS = frozenset(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "dd",
        "details",
        "div",
        "dl",
        "dt",
        "td",
        "th",
        "table",
        "figcaption",
        "figure",
        "footer",
        "form",
        "header",
        "hr",
        "html",
        "li",
        "main",
        "ol",
        "p",
        "pre",
        "section",
        "summary",
        "ul",
    ]
)


def load(path: Path) -> Loaded:
    """Text in reading order, a block a line."""
    return visible(read(path))


def visible(source: str) -> Loaded:
    """What a reader of the page would see."""
    outline = Outline()
    walk(source, outline)
    return outline.loaded()


def _html(xml: str) -> str:
    """XML as HTML reads it: elements that end where they begin would swallow the rest, and CDATA would be a comment."""
    xml = _EMPTY.sub(r"<\1\2></\1>", xml)
    return _CDATA.sub(lambda found: escape(found[1]), xml)


def walk(source: str, outline: Outline) -> None:
    """Add the page `source` to `outline`."""
    tree = LexborHTMLParser(
        _html(source) if source.lstrip().startswith("<?xml") or "xmlns" in source[:1000] else source
    )
    named = tree.css_first("title")
    outline.title = outline.title or (" ".join(named.text().split()) if named else "")
    tree.strip_tags(_UNSEEN)
    for node in tree.css("[hidden]"):
        node.decompose()
    if tree.body is not None:
        _walk(tree.body, outline)


def _cells(found: LexborNode) -> list[list[str]]:
    """Rows of a table: what spans rows stands in each of them, what spans columns in its first."""
    rows: list[list[str]] = []
    below: dict[int, tuple[int, str]] = {}
    for line in found.css("tr"):
        cells: list[str] = []

        def spanned(cells: list[str] = cells) -> None:
            while below.get(len(cells), (0, ""))[0]:
                left, text = below[len(cells)]
                below[len(cells)] = left - 1, text
                cells.append(text)

        for cell in line.css("th,td"):
            spanned()
            down, across = (_span(cell, name) for name in ("rowspan", "colspan"))
            for text in [cell.text(separator=" "), *[""] * (across - 1)]:
                below[len(cells)] = down - 1, text
                cells.append(text)
        spanned()
        rows.append(cells)
    return rows


def _span(cell: LexborNode, name: str) -> int:
    """How many rows or columns a cell takes; browsers hold a limit, too."""
    stated = (cell.attributes.get(name) or "").strip()
    return min(max(int(stated), 1), SPAN) if stated.isdecimal() and len(stated) < 6 else 1


def _walk(root: LexborNode, outline: Outline) -> None:
    """Depth first with a stack of its own: hostile pages nest deeper than Python recurses."""
    line: list[str] = []

    def flush() -> None:
        outline.add(" ".join("".join(line).split()))
        line.clear()

    stack: list[LexborNode | None] = [root]
    while stack:
        node = stack.pop()
        tag = node.tag if node is not None else ""
        if node is None or tag == "br":
            flush()
        elif tag in ("h1", "h2", "h3", "h4", "h5", "h6"):
            flush()
            outline.heading(int(tag[1]), " ".join(node.text().split()))
        elif tag == "table" and not any(part.css_first("table") for part in node.iter()):
            flush()
            for caption in node.css("caption"):
                outline.add(" ".join(caption.text(separator=" ").split()))
            table(outline, _cells(node))
        elif tag == "-text":
            line.append(node.text(deep=False))
        else:
            if tag in _BLOCKS:
                flush()
                stack.append(None)
            stack += reversed(list(node.iter(include_text=True)))
    flush()
