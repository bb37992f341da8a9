"""The page to read first: every record and protocol of Bakeoff.

Three nouns and a verb: `compare(systems, examples, metrics)`.
Records are frozen; a protocol has few methods. This module imports nothing of the package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Generator as Stream
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Filter = Mapping[str, Sequence[str]]
"""Declared field ("document_id", "source" or "groups") -> allowed values; a hit must satisfy every field.

`groups` are the reader's: a document without groups is everybody's, others need one of the reader's.
"""
Outcome = Literal["answered", "abstained", "fallback", "error"]
Schema = Mapping[str, object] | None
"""A JSON schema."""


# ---------------------------------------------------------------- records


@dataclass(frozen=True, slots=True)
class Document:
    """One file, or one row of a table, as text."""

    id: str
    """`<source>/<path inside it>`, as in `handbook/leave.md` or `shop.db/orders/17`; stable while the file stays."""
    text: str
    """Everything a reader would see; all offsets count characters of this string."""
    source: str
    """Name of the source that delivered it."""
    metadata: Mapping[str, object] = field(default_factory=dict)
    """`title`; `pages`: the offset at which each page starts; `places`: (offset, where that is in the file) of rows;
    `groups`: who may read it, empty for everybody."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage of a document: `text == document.text[start:end]`."""

    id: str
    document_id: str
    text: str
    start: int
    end: int
    page: int | None = None
    """1-based page of `start`, for paged documents."""
    section: str = ""
    """Title and heading path, as in `Travel policy > Hotels`."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A retrieved chunk; higher scores are better, comparable only within one retriever."""

    chunk: Chunk
    score: float
    scores: Mapping[str, float] = field(default_factory=dict)
    """`bm25` and `dense` -> what that retriever gave; of a hybrid, the score of its last hit where it missed this."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Question:
    """What a system is asked: the words, and the turns before them."""

    text: str
    history: tuple[Message, ...] = ()

    @classmethod
    def of(cls, question: Question | str) -> Question:
        """Accept plain words where a `Question` is wanted."""
        return cls(question) if isinstance(question, str) else question


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where a document states the answer; retrieval is judged by it, whatever the chunking."""

    document_id: str
    start: int
    """Character offset into the document's text; -1 until the quote has been located."""
    end: int
    quote: str = ""

    def in_chunk(self, chunk: Chunk) -> bool:
        """Whether `chunk` shows it: half of the span or more, or the whole quote."""
        if chunk.document_id != self.document_id:
            return False
        shared = min(self.end, chunk.end) - max(self.start, chunk.start)
        if self.start >= 0 and 2 * shared >= self.end - self.start:
            return True
        return bool(self.quote) and " ".join(self.quote.split()) in " ".join(chunk.text.split())


@dataclass(frozen=True, slots=True)
class Example:
    """One question with what is known about its right answer."""

    id: str
    question: str
    references: tuple[str, ...] = ()
    """Right answers, any one of which will do."""
    evidence: tuple[Evidence, ...] = ()
    rejected: str = ""
    """A worse answer, for preference tuning."""
    label: str = ""
    """The class, for classification."""
    messages: tuple[Message, ...] = ()
    """The whole conversation with the right answer last, for tuning; empty means question and first reference."""
    group: str = ""
    """Cluster for statistics and splits: questions on one document belong together."""
    kind: str = ""
    """Slice of the report, as in `fact` or `table`."""
    answerable: bool = True
    """False where the right behaviour is to abstain."""
    split: str = ""
    """`train`, `valid` or `test` where the data's author has divided it; empty leaves it to `Examples.split`."""
    text: str = ""
    """Running text, for continued training; an example that has it asks nothing and has no other fields to learn."""
    facts: tuple[str, ...] = ()
    """What a reply must state, a few words each; house terms, for a translation."""
    format: str = ""
    """The form a reply must have: a regular expression for the whole of it, or a JSON schema, which begins with {."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What answering took."""

    fresh: int = 0
    """Prompt tokens evaluated."""
    cached: int = 0
    """Prompt tokens taken from a cache."""
    output: int = 0
    """Tokens generated."""
    seconds: float = 0.0
    """Time the machine was busy: generating, embedding, searching and reranking."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.fresh + other.fresh,
            self.cached + other.cached,
            self.output + other.output,
            self.seconds + other.seconds,
        )


@dataclass(frozen=True, slots=True)
class Generation:
    """What a generator returned."""

    text: str
    usage: Usage
    finish: Literal["stop", "length"]
    """`length` means that `max_tokens` cut it."""
    logprobs: tuple[float, ...] = ()
    """Natural logarithm of the probability of each token; empty where the back end does not tell."""


Pieces = Stream[str, None, Generation]
"""Text as it comes; what the iterator returns at its end is the whole."""


@dataclass(frozen=True, slots=True)
class Citation:
    """A mark `[number]` in an answer, resolved to its place in the source document."""

    number: int
    chunk: Chunk
    start: int
    """Character offsets of the quote in the document's text."""
    end: int
    quote: str
    made_by: Literal["generator", "locator"] = "generator"
    """`locator`: the generator cited nothing, and the quote was found by searching its passages."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of an answer with what supports it."""

    start: int
    """Character offsets in the answer's text, marks included."""
    end: int
    citations: tuple[int, ...]
    """Numbers of the passages that it cites, or in which it was found."""
    support: float
    """Share of its content words that these passages hold, 0 to 1; 0 where it names a number that they do not."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step on the way to an answer."""

    name: str
    """What worked, as in `bm25`, `hybrid`, `pack`, `prompt`, `generate`, `decide`."""
    detail: str
    """What came out, as text."""
    seconds: float = 0.0
    usage: Usage = Usage()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a system replied."""

    text: str
    outcome: Outcome = "answered"
    citations: tuple[Citation, ...] = ()
    hits: tuple[Hit, ...] = ()
    """The passages that stood in the prompt, in order."""
    usage: Usage = Usage()
    timings: Mapping[str, float] = field(default_factory=dict)
    """Step -> wall seconds."""
    removed_citations: int = 0
    """Marks taken out of the text: they pointed to no passage, or to one that does not hold what is said."""
    sentences: tuple[Sentence, ...] = ()
    """Each sentence of an answer from passages with its support."""
    confidence: float | None = None
    """Probability that the answer is right, where a fitted decider judged it."""
    notes: tuple[str, ...] = ()
    """What the reader should know, as that two passages contradict each other."""
    trace: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tuned model on disk."""

    path: Path
    base: str
    """Name of the weights it was trained on."""
    base_fingerprint: str
    method: str


@dataclass(frozen=True, slots=True)
class Trial:
    """One system asked one example."""

    system: str
    example_id: str
    answer: Answer
    seconds: float
    """Wall time of the whole answer."""
    error: str = ""
    """Why the system raised; such a trial counts as a wrong answer."""
    alone: bool = True
    """Whether nothing else was answered at the same time; then its seconds are a latency."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What a sync did, as document ids."""

    added: Sequence[str] = ()
    updated: Sequence[str] = ()
    removed: Sequence[str] = ()
    unchanged: Sequence[str] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    """Document id -> reason; its earlier text, if any, is no longer served."""
    unread: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Document id -> what of it could not be read, for documents added or updated."""


# ---------------------------------------------------------------- protocols


class Embedder(Protocol):
    """Texts in, unit vectors out."""

    name: str
    fingerprint: str
    """Changes whenever the vectors would."""
    dimension: int
    window: int
    """Longest text in tokens; longer ones are refused, never cut silently."""

    def count(self, text: str) -> int:
        """Tokens of `text`, special ones included; more where a word would else count as one however long it is."""
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, shape [len(texts), dimension]."""
        ...


@runtime_checkable
class TokenEmbedder(Protocol):
    """An embedder that also shows the vectors of tokens."""

    def embed_tokens(self, texts: Sequence[str]) -> list[Vectors]:
        """Unit vectors of each text's tokens, shape [tokens, dimension]."""
        ...


class Generator(Protocol):
    """A model back end; streaming yields and returns the same."""

    name: str
    window: int
    """Prompt and answer together, in tokens."""

    def count(self, messages: Sequence[Message]) -> int:
        """Tokens of the rendered prompt."""
        ...

    def generate(self, messages: Sequence[Message], *, max_tokens: int = 128, schema: Schema = None) -> Generation:
        """`schema`: the text is JSON of this form; raises `ModelError` where the back end cannot promise that."""
        ...

    def stream(self, messages: Sequence[Message], *, max_tokens: int = 128) -> Pieces: ...


class Searchable(Protocol):
    """What retrievers and readers of a corpus need of its store."""

    def document(self, document_id: str) -> Document | None: ...

    def chunks(self, document_id: str) -> list[Chunk]:
        """In order of `start`."""
        ...

    def search_text(self, query: str, k: int, filter: Filter | None = None) -> list[Hit]:
        """BM25 over the chunks; words of the query are alternatives, never operators."""
        ...

    def search_vectors(self, vector: Vectors, k: int, filter: Filter | None = None) -> list[Hit]:
        """The highest inner products with `vector`, shape [dimension].

        Scores are exact. An approximate store may miss one of the best; it never returns fewer than `k` if there are.
        """
        ...


class Store(Searchable, Protocol):
    """Documents, chunks, full text and vectors of one corpus; each method is one transaction."""

    def get(self, key: str) -> str | None:
        """A setting of the corpus, such as its embedder's fingerprint."""
        ...

    def set(self, key: str, value: str) -> None: ...

    def put(
        self, document: Document, stamp: str, chunks: Sequence[Chunk], vectors: Vectors, keys: Sequence[str]
    ) -> None:
        """Replace everything held for `document.id`; `stamp` says what it was made from, `keys` what each vector was.

        `document.metadata["groups"]` are held for the filter of the same name.
        """
        ...

    def vectors(self, keys: Sequence[str]) -> dict[str, Vectors]:
        """Key -> vector of those that any chunk holds, so that the same text is embedded once."""
        ...

    def fail(self, document_id: str, source: str, stamp: str, reason: str) -> None:
        """Remember why a document could not be read, and drop what was held for it."""
        ...

    def delete(self, document_id: str) -> None: ...

    def stamps(self, source: str) -> Iterator[tuple[str, str, str]]:
        """Document id, stamp, and the reason it failed or "", of one source, in order of the ids."""
        ...

    def sources(self) -> dict[str, int]:
        """Source name -> documents held."""
        ...

    def ids(self) -> list[str]:
        """Ids of all documents that were read, sorted."""
        ...

    def beside(self, embedder: str) -> Store:
        """Where an index with another embedder, by its fingerprint, is built while this one is searched.

        What an interrupted try with the same embedder left there is kept, anything else is dropped.
        """
        ...

    def swap(self, embedder: str) -> None:
        """Put what stands beside in place of all that is held here, in one transaction.

        Raises `StoreError` where what stands beside was made with another embedder.
        """
        ...

    def optimize(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Renew what is derived and only makes searches faster, where that pays; at the end of a sync."""
        ...

    def purge(self) -> None:
        """Leave no byte on disk of what was deleted, nor of what stands beside."""
        ...

    def mend(self) -> list[str]:
        """Make anew what is derived, and drop documents that are damaged; returns their ids, for the next sync."""
        ...

    def check(self) -> list[str]:
        """What is wrong with the store, a line each; empty when sound."""
        ...

    def close(self) -> None: ...


class Index(Protocol):
    """What a retriever searches: a `Corpus`, or the user's own."""

    @property
    def embedder(self) -> Embedder: ...

    @property
    def store(self) -> Searchable: ...


class Retriever(Protocol):
    """Composition, not flags: `Hybrid(BM25(corpus), Dense(corpus))`."""

    def retrieve(self, query: str, k: int, *, filter: Filter | None = None) -> list[Hit]:
        """At most `k` hits, best first."""
        ...


class Reranker(Protocol):
    """Reads the passages once more."""

    def rerank(self, query: str, hits: Sequence[Hit]) -> list[Hit]:
        """All of `hits`, best first; as they were, with a warning, where it stands aside."""
        ...


@runtime_checkable
class System(Protocol):
    """A contestant: something that answers a question."""

    name: str

    def answer(self, question: Question | str) -> Answer: ...


class Metric(Protocol):
    """Higher is better, from 0 to 1; None means that it could not be scored."""

    def __call__(self, example: Example, answer: Answer) -> float | None: ...


class Tune(Protocol):
    """A fine-tuning method; its further keyword-only parameters are its flags and config keys."""

    def __call__(
        self, base: str, train: Sequence[Example], valid: Sequence[Example], out: Path, *, seed: int = 0
    ) -> Checkpoint: ...
