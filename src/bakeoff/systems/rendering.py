"""An answer as plain text or as Markdown, with its sources."""

from __future__ import annotations

import re
from collections.abc import Callable

from bakeoff.types import Answer, Citation

Place = Callable[[str, int], str]
"""Document id and character offset -> where that is, as in `page 3`; "" where it is not known."""

_URL = re.compile(r"(?:[a-z][a-z0-9+.-]*://|www\.|mailto:)\S+", re.IGNORECASE)
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#!|~&])")


def plain(answer: Answer, place: Place) -> str:
    """The text, how it came about where that needs saying, and a line for each source."""
    lines = [answer.text]
    if answer.outcome != "answered":
        lines.append(f"({answer.outcome})")
    for citation in answer.citations:
        how = "" if citation.made_by == "generator" else " (found by search, not cited by the model)"
        lines.append(f"  [{citation.number}] {_where(citation, place)}{how}: {citation.quote!r}")
    return "\n".join([*lines, *(f"note: {note}" for note in answer.notes)])


def markdown(answer: Answer, place: Place) -> str:
    """The same as Markdown in which nothing is active.

    A document may try to have its reader load a picture or follow a link that carries away what was asked, so links,
    pictures and HTML of the answer and of the quotes show as text, and addresses as code.
    """
    lines = [inert(answer.text)]
    if answer.outcome != "answered":
        lines.append(f"*({answer.outcome})*")
    sources = [
        f"- \\[{citation.number}\\] {inert(_where(citation, place))}: “{inert(' '.join(citation.quote.split()))}”"
        for citation in answer.citations
    ]
    notes = [f"> {inert(note)}" for note in answer.notes]
    return "\n\n".join([*lines, *(["\n".join(sources)] if sources else []), *notes])


def inert(text: str) -> str:
    """Markdown that shows `text` and does nothing."""
    parts, end = [], 0
    for match in _URL.finditer(text):
        address = match[0].replace("`", "'")
        parts += [_SPECIAL.sub(r"\\\1", text[end : match.start()]), f"`{address}`"]
        end = match.end()
    return "".join([*parts, _SPECIAL.sub(r"\\\1", text[end:])])


def explained(answer: Answer) -> str:
    """Every step on the way to the answer."""
    blocks = []
    for step in answer.trace:
        seconds = f"  {1000 * step.seconds:.1f} ms" if step.seconds else ""
        used = step.usage
        tokens = f"  {used.fresh} + {used.cached} cached + {used.output} tokens" if used.fresh or used.cached else ""
        body = "\n".join(f"    {line}" for line in step.detail.splitlines())
        blocks.append(f"{step.name}{seconds}{tokens}\n{body}".rstrip())
    support = [f"    {answer.text[s.start : s.end]!r} {s.support:.0%} {list(s.citations)}" for s in answer.sentences]
    if support:
        blocks.append("\n".join(["support of each sentence, and its passages", *support]))
    return "\n".join(blocks)


def _where(citation: Citation, place: Place) -> str:
    known = place(citation.chunk.document_id, citation.start)
    return f"{citation.chunk.document_id}, {known}" if known else citation.chunk.document_id
