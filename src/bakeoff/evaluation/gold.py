"""Where the corpus holds the answer to a question: by the example's evidence, or by its words where none is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from bakeoff.evaluation.metrics import _text
from bakeoff.types import Chunk, Evidence, Example, Filter, Hit, Searchable

ANSWERED, ASKED = 0.8, 0.3
"""Share of a reference's words, and of the question's, that a passage holds which is taken to answer it; proposals of
docs/log.md: the words of the answer alone stand in too many passages."""
LOOKED_AT = 20
PLACES = 5


class Located(Protocol):
    """What is asked of a corpus: a `bakeoff.Corpus`, or what a reader may see of it."""

    @property
    def store(self) -> Searchable: ...

    def locate(self, evidence: Evidence) -> Evidence | None: ...


@dataclass(frozen=True, slots=True)
class Gold:
    """The passages that answer one question."""

    facts: tuple[tuple[Evidence, ...], ...]
    """What the answer needs, all of it; any of its places will do."""
    hits: tuple[Hit, ...]
    """A passage for each fact."""
    absent: int = 0
    """Facts that no document states."""
    unchunked: int = 0
    """Facts that a document states and no passage shows."""
    stated: bool = True
    """By the example's evidence; else found by words, and so a guess."""

    @property
    def whole(self) -> bool:
        """Whether passages show all of it."""
        return bool(self.facts) and not self.absent and not self.unchunked

    def shown_by(self, hits: Sequence[Hit]) -> bool:
        """Whether `hits` show every fact."""
        return all(any(place.in_chunk(hit.chunk) for place in fact for hit in hits) for fact in self.facts)

    def holds(self, hit: Hit) -> bool:
        """Whether `hit` shows one of the facts."""
        return any(place.in_chunk(hit.chunk) for fact in self.facts for place in fact)


def find(example: Example, corpus: Located) -> Gold:
    """Where `corpus` answers `example`.

    Evidence that is not located is absent. Without any evidence, a passage answers that holds 0.8 of the words of a
    reference and 0.3 of the question's.
    """
    if not example.evidence:
        return _by_words(example, corpus.store)
    located = [corpus.locate(evidence) for evidence in example.evidence]
    found = [evidence for evidence in located if evidence]
    chunks = [_best(corpus.store.chunks(evidence.document_id), evidence) for evidence in found]
    hits = {chunk.id: Hit(chunk, 1.0) for chunk in chunks if chunk}
    return Gold(tuple((evidence,) for evidence in found), tuple(hits.values()), located.count(None), chunks.count(None))


class Given:
    """A retriever that finds for each question what it is told to."""

    def __init__(self, passages: Mapping[str, Sequence[Hit]]) -> None:
        self._passages = passages

    def retrieve(self, query: str, k: int, *, filter: Filter | None = None) -> list[Hit]:
        return list(self._passages.get(query, ()))


def _best(chunks: Sequence[Chunk], evidence: Evidence) -> Chunk | None:
    """The chunk that shows most of it."""
    showing = [chunk for chunk in chunks if evidence.in_chunk(chunk)]
    return max(showing, key=lambda chunk: min(evidence.end, chunk.end) - max(evidence.start, chunk.start), default=None)


def _by_words(example: Example, store: Searchable) -> Gold:
    references = _text.references(example)
    found = store.search_text(" ".join((example.question, *references)), LOOKED_AT) if references else []
    asked = _text.content(example.question)
    answering = [
        hit
        for hit in found
        if any(_share(_stems(right), hit.chunk.text) >= ANSWERED for right in references)
        and _share(asked, hit.chunk.text) >= ASKED
    ][:PLACES]
    if not answering:
        return Gold((), (), absent=1, stated=False)
    places = tuple(Evidence(hit.chunk.document_id, hit.chunk.start, hit.chunk.end) for hit in answering)
    return Gold((places,), (answering[0],), stated=False)


def _stems(text: str) -> list[str]:
    return [_text.stem(token) for token in _text.tokens(text)]


def _share(wanted: Sequence[str], text: str) -> float:
    held = set(_stems(text))
    return sum(word in held for word in wanted) / len(wanted) if wanted else 0.0
