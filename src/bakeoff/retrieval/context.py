"""From hits to a prompt: pack passages into the budget, number them, mark them as quoted."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence

from bakeoff.retrieval.citing import MARKS
from bakeoff.types import Hit


def pack(hits: Sequence[Hit], budget: int, count: Callable[[str], int]) -> list[Hit]:
    """The best hits whose rendered passages fit into `budget` tokens, without overlaps, best first.

    Raises nothing: what does not fit is left out whole, never cut. `count` is asked for one passage at a time, so that
    it may remember; each is taken to cost a line break more, which is a token too many at most.
    """
    packed: list[Hit] = []
    spent = around = count("")
    for hit in hits:
        if any(_overlap(hit, other) for other in packed):
            continue
        cost = count(_line(len(packed) + 1, hit)) - around + 1
        if spent + cost > budget:
            continue
        packed.append(hit)
        spent += cost
    return packed


def render(hits: Sequence[Hit]) -> str:
    """Passages numbered by rank, each with the title it stands under, the best one last.

    A small model reads best what it read last: with three passages SmolLM2-135M answered 25 of 60 development
    questions with the best one last and 20 with it first (docs/log.md).
    """
    return "\n".join(reversed([_line(number, hit) for number, hit in enumerate(hits, start=1)]))


def _line(number: int, hit: Hit) -> str:
    title = f"({' '.join(flat(hit.chunk.section).split())}) " if hit.chunk.section else ""
    return f"[{number}] {title}{flat(hit.chunk.text)}"


def quoted(passages: str, question: str) -> str:
    """Rendered passages between marks that their authors could not foresee.

    The mark is a hash of the question and of everything between the marks: a document that holds its own mark would
    have to be its own preimage, and yet the same question gets the same prompt, so that a comparison can be repeated.
    """
    mark = hashlib.sha256(f"{question}\0{passages}".encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"<{mark}>\n{passages}\n</{mark}>"


def flat(text: str) -> str:
    """Rows stay one to a line, prose becomes one line; a bracketed number of the author's is no citation."""
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    rows = len(lines) > 1 and all(re.search(r": |\|", line) for line in lines)
    return MARKS.sub(r"(\1)", ("\n" if rows else " ").join(lines))


def _overlap(one: Hit, other: Hit) -> bool:
    a, b = one.chunk, other.chunk
    return a.document_id == b.document_id and min(a.end, b.end) > max(a.start, b.start)
