"""search: the passages that best match some words."""

from __future__ import annotations

from bakeoff.systems.tools import Found, Refused, Shot, Tool
from bakeoff.types import Retriever

LONGEST = 300
"""Characters of a query: an embedder refuses what its window does not hold, and MiniLM's is 256 tokens."""


def search(retriever: Retriever, k: int = 3) -> Tool:
    """Searches what `retriever` sees; give it one over `corpus.readable_by(groups)` to keep access groups."""

    def use(query: str) -> Found:
        if len(query) > LONGEST:
            raise Refused(f"the query has {len(query)} characters; {LONGEST} at most")
        hits = retriever.retrieve(query, k)
        return Found("" if hits else "nothing found; try other words", tuple(hits))

    shot = Shot(
        "When does the museum open?",
        "A document may say when.",
        "museum opening hours",
        "[1] guide.md: The museum opens at nine.",
        "at nine [1]",
    )
    return Tool("search", "search[words] finds passages of the documents", use, shot)
