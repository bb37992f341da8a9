"""`Corpus`: make the index equal to the sources, whatever happened before."""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, cast

import numpy as np

from bakeoff import plugins
from bakeoff.corpus import chunking
from bakeoff.corpus.access import Guarded, Readable, require_apart
from bakeoff.corpus.addresses import Source, filled, parse
from bakeoff.corpus.held import Held, Ids
from bakeoff.corpus.parsing import Parser
from bakeoff.corpus.sources import Item, Unreachable, items
from bakeoff.errors import DataError, StoreError, UnknownNameError
from bakeoff.types import Changes, Chunk, Document, Embedder, Evidence, Store, Vectors

Progress = Callable[[int, int, str], None]
"""Called with the documents done, their number, and the one in hand."""

BATCH = 64
"""Chunks that are embedded together: enough to sort by length, few enough to lose little to a crash."""
WAITING = 256
"""Chunks that wait at most, new or not: what is held in memory, and what a stop costs where nothing is embedded."""
VECTORS = ("approximate", "exact")
"""How the nearest vectors are found."""


class Corpus:
    """Documents, kept fresh and searchable, in the folder `path`.

    `chunk_tokens` is the longest passage in the embedder's tokens. `store`: the name of an embedded store, or the URL
    of a server's, as in `postgresql://user@host/database?schema=name`. `vectors`: "exact", or "approximate", many
    times faster among a hundred thousand passages and blind to a few in a thousand of the best. `headers`: embed title
    and section with each passage; on long papers that cost 7 points of hit@5. Both are measured in docs/results.md.
    """

    def __init__(
        self,
        path: str | Path,
        embedder: Embedder | str = "minilm-int8",
        *,
        store: str = "sqlite",
        vectors: str = "exact",
        chunk_tokens: int = 128,
        headers: bool = False,
    ) -> None:
        from bakeoff.models import embedder as embedder_by_name

        self._embedder = embedder_by_name(embedder) if isinstance(embedder, str) else embedder
        self._size = min(chunk_tokens, self._embedder.window)
        self._headers = headers
        try:
            Path(path).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot make the folder {path}: {error.strerror}; choose another") from error
        store = filled(store)
        if vectors not in VECTORS:
            raise UnknownNameError("kind of vector search", vectors, VECTORS)
        name, url, _ = store.partition("://")
        place = store if url else Path(path) / "corpus.db"
        self.store: Store = plugins.get("stores", name)(place, approximate=vectors == "approximate")

    @property
    def embedder(self) -> Embedder:
        """The embedder of queries; raises `StoreError` when the index was made with another."""
        if self.store.get("embedder") not in (None, self._embedder.fingerprint):
            raise StoreError(
                f"the index was made with another embedder than {self._embedder.name}; run `bakeoff ingest` to renew it"
            )
        return self._embedder

    def sync(
        self,
        *sources: str | Path | Source,
        access: Mapping[str, Sequence[str]] | None = None,
        hosts: Sequence[str] = (),
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> Changes:
        """Make the index equal to each of `sources`; documents of sources that are not named stay.

        A source is a folder, a file, `sqlite:///file.db`, `postgresql://user@host/database` (or `mysql://`), a URL of
        one of the `hosts` - a page, a sitemap or a feed - or any of these with a name in front: `hr=path`. `${NAME}`
        is taken from the environment. Of a database, `?table=name` is one table, and `?query=file.sql&key=column` what
        a SELECT finds; with `&updated=column`, only rows are read in which that column has changed.
        Each document is one transaction, so an interrupted sync is finished by the next one.
        A document that cannot be read is kept in `failed` with the reason, and tried again when it changes.
        With another embedder than before, a new index is built beside the old one, which is searched until the new one
        is whole; all sources must be named and reachable then.
        `access`: pattern of document ids, as in `docs/hr/*`, -> groups that may read them; the first that fits counts,
        and a document that none fits is everybody's. `dry_run` reads what is there and only says what would be done.
        """
        found = [source if isinstance(source, Source) else parse(str(source)) for source in sources]
        fingerprint = self._embedder.fingerprint
        renewed = self.store.get("embedder") not in (None, fingerprint) and not dry_run
        if access:
            require_apart(found)
        self._check_names(found, renewed)
        if not dry_run:
            self._claim(found, renewed)
        target = self.store.beside(fingerprint) if renewed else self.store
        run = _Run(self, target, access or {}, dry_run, progress)
        try:
            with Parser() as parser:
                for source in found:
                    run.bring(source, hosts, parser)
        finally:
            if renewed:
                target.close()
        if renewed:
            run.require_all()
            self.store.swap(fingerprint)
        if not dry_run:
            self.store.optimize(lambda done, total: run.report(done, total, "vector index"))
        return run.changes()

    def forget(self, name: str) -> int:
        """Remove a source with all its documents, or one document; returns how many documents went.

        Their text stays in free pages of the file until `purge`. What is still among the sources comes back with the
        next sync. Raises `UnknownNameError`.
        """
        of_source = [id for id, _, _ in self.store.stamps(name)]
        # Those that could not be read are no documents, but known.
        stamped = (id for source in self.store.sources() for id, _, _ in self.store.stamps(source))
        ids = of_source or [id for id in stamped if id == name]
        if not ids:
            raise UnknownNameError("source or document", name, self.store.sources())
        for id in ids:
            self.store.delete(id)
        if of_source:
            self.store.set(f"source:{name}", "")
        return len(ids)

    def purge(self) -> None:
        """Leave no byte on disk of documents that were removed, replaced or forgotten."""
        self.store.purge()

    def place(self, document_id: str, offset: int) -> str:
        """Where a character of a document stands in its file, as in `page 3` or `Prices!A7:F7`; "" if not known."""
        document = self.store.document(document_id)
        for key, label in (("places", "{}"), ("pages", "page {}")):
            entries = [] if document is None else cast(list[Any], document.metadata.get(key) or [])
            starts = [entry[0] if key == "places" else entry for entry in entries]
            number = bisect_right(starts, offset)
            if number:
                return label.format(entries[number - 1][1] if key == "places" else number)
        return ""

    def readable_by(self, groups: Sequence[str]) -> Readable:
        """This corpus as members of `groups` see it; give it to retrievers in place of the corpus.

        `groups` must come from who asks, as the server knows them, never from the question.
        """
        return Readable(self.embedder, Guarded(self.store, groups))

    def locate(self, evidence: Evidence) -> Evidence | None:
        """Find a quote: the document's true id and the offsets; None where the corpus does not hold it.

        `evidence.document_id` may leave out the start of the id; white space in the quote does not matter.
        """
        wanted = evidence.document_id
        ids = [id for id in self.store.ids() if id == wanted or id.endswith(f"/{wanted}")]
        for id in sorted(ids, key=len):
            document = self.store.document(id)
            if document is None:
                continue
            if evidence.start >= 0:
                quote = evidence.quote or document.text[evidence.start : evidence.end]
                return replace(evidence, document_id=id, quote=quote) if evidence.end <= len(document.text) else None
            pattern = r"\s+".join(map(re.escape, evidence.quote.split()))
            if pattern and (match := re.search(pattern, document.text)):
                return Evidence(id, match.start(), match.end(), evidence.quote)
        return None

    def fingerprint(self) -> str:
        """Changes whenever an answer from this corpus could."""
        digest = hashlib.sha256()
        for source in self.store.sources():
            for entry in self.store.stamps(source):
                digest.update(repr((source, entry)).encode())
        return digest.hexdigest()

    # ------------------------------------------------------------ inside

    def _check_names(self, sources: list[Source], renewed: bool) -> None:
        """A name means one path; a new index must be made from the same sources as the one that it replaces."""
        names = [source.name for source in sources]
        for source in sources:
            if names.count(source.name) > 1:
                raise DataError(f"two sources are named {source.name!r}; name one of them: other={source.label}")
            bound = self.store.get(f"source:{source.name}")
            if bound and bound != source.label and ("://" in bound or Path(bound).exists()):
                cure = f"give {source.label} another name: other={source.label}"
                raise DataError(f"the source {source.name!r} is {bound} already; {cure}")
        others = sorted(set(self.store.sources()) - set(names))
        if renewed and others:
            raise StoreError(
                f"the index was made with another embedder; sync its other sources too: {', '.join(others)}"
            )

    def _claim(self, sources: list[Source], renewed: bool) -> None:
        """Bind names to paths."""
        if not renewed:
            self.store.set("embedder", self._embedder.fingerprint)
        for source in sources:
            self.store.set(f"source:{source.name}", source.label)


@dataclass(frozen=True, slots=True)
class _Read:
    """A document that was read and cut, and waits for its vectors."""

    document: Document
    stamp: str
    chunks: list[Chunk]
    keys: list[str]
    """What each chunk's vector is made from, hashed."""
    held: dict[str, Vectors]
    """Key -> vector, of those that the store holds: by the time of writing, it may hold them no more."""
    texts: dict[str, str]
    """Key -> text, of the others."""
    unread: tuple[str, ...]
    known: bool
    """Whether an earlier version is held."""


class _Run:
    """One sync: documents are read one by one, embedded many at a time, and each put in a transaction of its own."""

    def __init__(
        self,
        corpus: Corpus,
        target: Store,
        access: Mapping[str, Sequence[str]],
        dry_run: bool,
        progress: Progress | None,
    ) -> None:
        self._embedder, self._size = corpus._embedder, corpus._size
        self._served, self._store = corpus.store, target
        self._headers = corpus._headers
        self._access = access
        self._dry_run = dry_run
        self._progress = progress
        self._waiting: list[_Read] = []
        self._done = {"added": Ids(), "updated": Ids(), "removed": Ids(), "unchanged": Ids()}
        self._failed: dict[str, str] = {}
        self._unread: dict[str, tuple[str, ...]] = {}
        self._unreachable: list[str] = []
        self._total = self._count = 0

    def bring(self, source: Source, hosts: Sequence[str], parser: Parser) -> None:
        """Make the index equal to `source`."""
        held = Held(self._store.stamps(source.name))
        served = held if self._served is self._store else Held(self._served.stamps(source.name))

        def current(id: str, digest: str) -> bool:
            return self._dry_run or held.stamped(id, self._stamp(id, digest))

        self._count = 0
        hiding: list[Item] = []
        try:
            self._total, stream = items(source, hosts, current)
            for item in stream:
                if item.hides:
                    hiding.append(item)
                held.see(item.id)
                served.see(item.id)
                self._bring(item, source, held, served.reads(item.id), parser)
                if self._is_full():
                    self._put()
        except Unreachable as error:  # the others are still brought up to date, and nothing of this one goes
            self._failed[source.name] = str(error)
            self._unreachable.append(source.name)
            self._put()
            self._close(source)
            return
        self._put()
        if self._unreachable:
            self._close(source)
        pairs = ((held, self._store), (served, self._served))
        for gone in sorted({id for some, store in pairs for id in some.unseen(store.stamps(source.name))}):
            if hidden_by := [item.id for item in hiding if gone.startswith(item.hides)]:
                self._unreachable += hidden_by
                continue
            if not self._dry_run:
                self._store.delete(gone)
            self._done["removed"].append(gone)

    def require_all(self) -> None:
        """Raises `StoreError` where something could not be reached, for it would be missing in a new index."""
        if self._unreachable:
            name = self._unreachable[0]
            raise StoreError(
                f"{name} cannot be reached ({self._failed[name]}), so the index keeps its old embedder; "
                "run `bakeoff ingest` again: what was embedded is kept"
            )

    def report(self, done: int, total: int, text: str) -> None:
        if self._progress:
            self._progress(done, total, text)

    def changes(self) -> Changes:
        return Changes(**self._done, failed=self._failed, unread=self._unread)

    def _bring(self, item: Item, source: Source, held: Held, known: bool, parser: Parser) -> None:
        stamp = self._stamp(item.id, item.digest)
        unchanged = held.stamped(item.id, stamp)
        if unchanged and item.id in held.failed:
            self._failed[item.id] = held.failed[item.id]
        elif unchanged:
            self._done["unchanged"].append(item.id)
        elif self._dry_run and item.problem:
            self._failed[item.id] = item.problem
        elif self._dry_run:
            self._done["updated" if known else "added"].append(item.id)
        else:
            try:
                self._waiting.append(self._read(item, source, stamp, parser, known))
                return
            except Unreachable as error:
                self._failed[item.id] = str(error)
                self._unreachable.append(item.id)
            except DataError as error:
                self._failed[item.id] = str(error)
                self._store.fail(item.id, source.name, stamp, str(error))
        self._advance(item.id)

    def _stamp(self, id: str, digest: str) -> str:
        """Of all that a document's entry in the index is made from."""
        cut = f"{chunking.VERSION} {self._size} {self._headers}"
        made_from = f"{digest} {cut} {self._embedder.fingerprint} {sorted(self._groups(id))}"
        return hashlib.sha256(made_from.encode()).hexdigest()

    def _groups(self, id: str) -> Sequence[str]:
        return next((groups for pattern, groups in self._access.items() if fnmatchcase(id, pattern)), ())

    def _close(self, source: Source) -> None:
        """Delete what could not be reached, and by today's rules is no more for all who could read it until now."""
        for id, _, _ in list(self._store.stamps(source.name)):
            document, groups = self._store.document(id), set(self._groups(id))
            before = set(cast(list[str], document.metadata.get("groups") or []) if document else groups)
            if groups and not (before and before <= groups):
                if not self._dry_run:
                    self._store.delete(id)
                self._done["removed"].append(id)

    def _read(self, item: Item, source: Source, stamp: str, parser: Parser, known: bool) -> _Read:
        """Raises `DataError` where there is nothing to read."""
        if item.target and sorted(self._groups(item.target)) != sorted(self._groups(item.id)):
            raise DataError(f"it is a link to {item.target}, which other groups may read; put the text itself here")
        loaded = item.load(parser)
        if not loaded.text.strip():
            raise DataError(f"no text found ({'; '.join(loaded.unread) or 'it is empty'})")
        metadata = {
            "title": loaded.title,
            "pages": list(loaded.pages),
            "places": [list(place) for place in loaded.places],
            "groups": sorted(self._groups(item.id)),
        }
        document = Document(item.id, loaded.text, source.name, metadata)
        chunks = chunking.chunk(document, loaded.sections, self._embedder.count, self._size)
        count, window = self._embedder.count, self._embedder.window
        texts = [chunking.header_and_text(chunk, count, window) if self._headers else chunk.text for chunk in chunks]
        # What was embedded before - the unchanged part of a document, a renamed file, a copy - is not embedded again.
        keys = [hashlib.sha256(f"{self._embedder.fingerprint}\n{text}".encode()).hexdigest() for text in texts]
        held = self._store.vectors(keys)
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in held}
        return _Read(document, stamp, chunks, keys, held, new, loaded.unread, known)

    def _is_full(self) -> bool:
        new = sum(len(read.texts) for read in self._waiting)
        return new >= BATCH or sum(len(read.keys) for read in self._waiting) >= WAITING

    def _put(self) -> None:
        """Embed what waits, neighbours of about the same length, and put each document."""
        if not self._waiting:
            return
        texts = {key: text for read in self._waiting for key, text in read.texts.items()}
        order = sorted(texts, key=lambda key: len(texts[key]))
        vectors = dict(zip(order, self._embedder.embed([texts[key] for key in order]), strict=True))
        for read in self._waiting:
            found = [read.held[key] if key in read.held else vectors[key] for key in read.keys]
            shaped = np.stack(found) if found else np.zeros((0, self._embedder.dimension), np.float32)
            self._store.put(read.document, read.stamp, read.chunks, shaped, read.keys)
            id = read.document.id
            self._done["updated" if read.known else "added"].append(id)
            if read.unread:
                self._unread[id] = read.unread
            self._advance(id)
        self._waiting.clear()

    def _advance(self, id: str) -> None:
        self._count += 1
        self.report(self._count, self._total, f"indexing: {id}")
