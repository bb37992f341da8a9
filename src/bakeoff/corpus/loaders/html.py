"""HTML: the visible text, headings as sections, tables row by row."""

from __future__ import annotations

from pathlib import Path

from selectolax.lexbor import LexborHTMLParser, LexborNode

from bakeoff.corpus.loaders import Loaded, Outline, table
from bakeoff.corpus.loaders.text import read

SUFFIXES = (".html", ".htm", ".xhtml", ".xml")
VERSION = 2

_UNSEEN = ["script", "style", "template", "noscript", "nav", "svg", "iframe"]
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


def walk(source: str, outline: Outline) -> None:
    """Add the page `source` to `outline`."""
    tree = LexborHTMLParser(source)
    named = tree.css_first("title")
    outline.title = outline.title or (" ".join(named.text().split()) if named else "")
    tree.strip_tags(_UNSEEN)
    for node in tree.css("[hidden]"):
        node.decompose()
    if tree.body is not None:
        _walk(tree.body, outline)


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
            rows = [[cell.text(separator=" ") for cell in line.css("th,td")] for line in node.css("tr")]
            table(outline, rows)
        elif tag == "-text":
            line.append(node.text(deep=False))
        else:
            if tag in _BLOCKS:
                flush()
                stack.append(None)
            stack += reversed(list(node.iter(include_text=True)))
    flush()
