"""A corpus as the members of some groups see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bakeoff.types import Chunk, Document, Embedder, Filter, Hit, Searchable, Store, Vectors


@dataclass(frozen=True, slots=True)
class Readable:
    """An index to give to retrievers in place of the corpus; made by `Corpus.readable_by`."""

    embedder: Embedder
    store: Searchable


class Guarded:
    """Only what `groups` may read leaves the store; a document of others is as if it were not there."""

    def __init__(self, store: Store, groups: Sequence[str]) -> None:
        self._store = store
        self._groups = tuple(groups)

    def document(self, document_id: str) -> Document | None:
        document = self._store.document(document_id)
        allowed = document is not None and _may_read(self._groups, document)
        return document if allowed else None

    def chunks(self, document_id: str) -> list[Chunk]:
        return self._store.chunks(document_id) if self.document(document_id) else []

    def search_text(self, query: str, k: int, filter: Filter | None = None) -> list[Hit]:
        return self._store.search_text(query, k, self._with_groups(filter))

    def search_vectors(self, vector: Vectors, k: int, filter: Filter | None = None) -> list[Hit]:
        return self._store.search_vectors(vector, k, self._with_groups(filter))

    def _with_groups(self, filter: Filter | None) -> Filter:
        # The caller's own wish for groups, if any, is replaced: it comes with the question and proves nothing.
        return {**(filter or {}), "groups": self._groups}


def _may_read(groups: Sequence[str], document: Document) -> bool:
    wanted = document.metadata.get("groups") or ()
    assert isinstance(wanted, list | tuple)
    return not wanted or not set(groups).isdisjoint(wanted)
