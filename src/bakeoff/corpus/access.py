"""Who may read what: the rules, and a corpus as the members of some groups see it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from itertools import chain, islice
from pathlib import Path

from bakeoff.corpus.addresses import Source
from bakeoff.corpus.sources import names
from bakeoff.errors import ConfigError
from bakeoff.types import Chunk, Document, Embedder, Filter, Hit, Searchable, Store, Vectors

NAMES = 10_000
"""Of which the nearest to a pattern that fits nothing is looked for."""


def require_apart(sources: Iterable[Source]) -> None:
    """Raises `ConfigError` for a file or folder inside another source: there its ids are others than rules speak of."""
    places = {Path(source.address).resolve(): source for source in sources if source.kind == "files"}
    for place, inner in places.items():
        if outer := next((places[parent] for parent in place.parents if parent in places), None):
            raise ConfigError(
                f"{inner.label} lies in the source {outer.name!r}, of whose documents [corpus.access] speaks by other "
                f"ids; ingest {outer.label}, or take the one out of the other"
            )


def require_fit(patterns: Iterable[str], sources: Sequence[Source]) -> None:
    """Raises `ConfigError` for a pattern that fits nothing: whoever wrote it believes something closed that is open.

    The same for one that comes behind another which fits every file that it does. Nothing is read for that, so it comes
    before anything can be searched. A folder that is still empty is enough for a pattern of what will lie there.
    """
    rules = list(patterns)
    left, first = list(rules), dict[str, str]()
    for name in chain.from_iterable(map(names, sources)):
        fitting = [pattern for pattern in rules if _speaks_of(pattern, name)]
        left = [pattern for pattern in left if pattern not in fitting]
        # The first rule that fits a file is the one that counts; "" marks a rule that counts somewhere.
        fitting = [] if name.endswith("/") else fitting
        first |= {pattern: "" if pattern == fitting[0] else first.get(pattern, fitting[0]) for pattern in fitting}
    if not left:
        if taken := next((pattern for pattern in rules if first.get(pattern)), ""):
            raise ConfigError(
                f'[corpus.access] "{taken}" counts nowhere, for "{first[taken]}" comes before it and fits all of '
                "it; put the narrower one first"
            )
        return
    for source in sources:
        whole = f"{source.name}/{left[0]}"
        if any(_speaks_of(whole, name) for name in names(source)):
            raise ConfigError(f'[corpus.access] "{left[0]}" fits no document; ids begin with a source: write "{whole}"')
    known = islice(chain.from_iterable(map(names, sources)), NAMES)
    like = get_close_matches(left[0], known, n=1, cutoff=0.0)
    cure = f'the nearest id is "{like[0]}"; correct it, or make its folder first' if like else "there is none"
    raise ConfigError(f'[corpus.access] "{left[0]}" fits no document; {cure}')


def may_fit(pattern: str, start: str) -> bool:
    """Whether `pattern` may fit any document id that begins with `start`."""
    literal = re.split(r"[*?\[]", pattern)[0]
    return literal.startswith(start) or start.startswith(literal)


def _speaks_of(pattern: str, name: str) -> bool:
    return may_fit(pattern, name) if name.endswith("/") else fnmatchcase(name, pattern)


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
