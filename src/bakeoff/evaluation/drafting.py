"""Draft questions with answers and evidence from the user's own documents, and keep only those that hold.

A sentence of a document is the evidence, so it is verbatim, and a name or a number in it is the answer; a generator
writes the question. Sentences without either come last, and the generator copies the answer itself. Whatever cannot be
verified is dropped and counted by reason. What was tried stands in a journal beside the file: the same call goes on
after a stop.
"""

from __future__ import annotations

import json
import random
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from bakeoff.errors import ConfigError, DataError
from bakeoff.evaluation import records
from bakeoff.evaluation.comparison import RIGHT
from bakeoff.evaluation.folder import append, appending, locked
from bakeoff.evaluation.metrics import recall
from bakeoff.files import write_atomically
from bakeoff.systems import RAG
from bakeoff.tuning.check.near import SIMILAR, similarity
from bakeoff.types import Chunk, Example, Filter, Generator, Hit, Message, Searchable
from bakeoff.words import content_words, stem

Progress = Callable[[int, int, str], None]

INSTRUCTION = (
    "Write the question that the sentence answers with the given answer. Name what it is about. Where no answer is "
    "given, copy one from the sentence, in as few words as possible."
)
SHOTS = (
    (
        "About: Library rules > Loans\nSentence: Books may be kept for 21 days, and magazines for a week.\n"
        "Answer: 21 days",
        "Question: For how many days may books of the library be kept?\nAnswer: 21 days",
    ),
    (
        "About: readers\nSentence: name: Tom Ashby; card: K-4410; town: Millwick; since: 2014\nAnswer: Millwick",
        "Question: In which town does the reader Tom Ashby live?\nAnswer: Millwick",
    ),
    (
        "About: Harbour office\nSentence: The harbour master opens the lock at six, unless the river is frozen.",
        "Question: When does the harbour master not open the lock?\nAnswer: the river is frozen",
    ),
)
"""Where SmolLM2-135M chose the answers itself, it copied 26 of 65, and 4 of its drafts held (docs/log.md)."""
TRIES = 20
"""Sentences that are tried for each question wanted, where there are so many."""
WORDS = range(6, 61)
"""Of a sentence that is worth asking about."""
ABOUT = 0.5
"""Share of a question's content words that its passage and title must hold."""

_ANSWER = re.compile(
    r"(?<=: )[^;:\n]{2,40}(?=;|$)"  # a value of a row
    r"|(?<![\w.-])\d+(?:[.,:]\d+)*(?:\s?%|\s[a-z]{3,}s\b)?"  # a number with its unit
    r"|(?<=[a-z,] )[A-Z][\w'-]+(?:\s[A-Z][\w'-]+)*"  # a name, not the first word
)
_SENTENCE = re.compile(r"[^\s].*?(?:[.!?](?=\s|$)|(?=\n|$))")
_REPLY = re.compile(r"Question:\s*(?P<question>[^\n]+?)\s*\n\s*Answer:\s*(?P<answer>[^\n]+)", re.IGNORECASE)
_POINTING = re.compile(r"\b(?:passage|sentence|paragraph|document|text|above|following|quote)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Drafted:
    """What came of it."""

    path: Path
    questions: int
    tried: int
    failed: Mapping[str, int]
    """Reason -> drafts that were dropped for it."""


@dataclass(frozen=True, slots=True)
class Source:
    """A sentence, and where it stands."""

    chunk: Chunk
    quote: str
    start: int
    """Character offset in the document."""
    answer: str = ""
    """A name, a number or a value in it."""

    @property
    def key(self) -> str:
        return f"{self.chunk.document_id}#{self.start} {self.quote}"

    @property
    def title(self) -> str:
        return self.chunk.section or Path(self.chunk.document_id).stem.replace("_", " ")


def draft(
    store: Searchable,
    documents: Sequence[str],
    generator: Generator,
    out: Path,
    *,
    count: int = 50,
    seed: int = 0,
    progress: Progress | None = None,
) -> Drafted:
    """Write `count` verified questions on `documents` to the JSONL file `out`, or as many as can be had.

    `group` is the document, so that a split divides no document. Raises `ConfigError` rather than write over a file,
    and `DataError` where nothing could be verified.
    """
    if out.exists():
        raise ConfigError(f"{out} exists already; name another file with --out")
    if count < 1:
        raise ConfigError(f"{count} questions are to be drafted; name 1 or more with --count")
    scratch = out.with_name(f".{out.name}.partial")
    journal = scratch / "drafts.jsonl"
    with locked(scratch):
        sources = list(_sources(store, documents, random.Random(seed)))[: TRIES * count]
        # What another model, or this one in another order, made of a sentence is not what was asked for now.
        wanted = {f"{generator.name} {seed} {source.key}": source for source in sources}
        tried = {row["source"]: row for row in records.read(journal) if row["source"] in wanted}
        made = [row["row"] for row in tried.values() if not row["failed"]]
        with appending(journal) as file:
            for key, source in wanted.items():
                if len(made) >= count:
                    break
                if key not in tried:
                    row, failed = _draft(store, source, generator, made)
                    tried[key] = {"source": key, "failed": failed, "row": row}
                    append(file, records.line(tried[key]))
                    made += [] if failed else [row]
                if progress:
                    progress(len(made), count, f"drafting: {len(tried):,} sentences tried")
        failures = Counter(row["failed"] for row in tried.values() if row["failed"])
        if not made:
            reasons = ", ".join(f"{number:,} times {reason}" for reason, number in failures.most_common())
            shutil.rmtree(scratch)
            raise DataError(
                f"none of {len(tried):,} drafts could be verified ({reasons or 'the documents hold no sentences'}); "
                "name a larger model with --generator, or write questions by hand"
            )
        write_atomically(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made))
        shutil.rmtree(scratch)
    return Drafted(out, len(made), len(tried), dict(failures.most_common()))


def _sources(store: Searchable, documents: Sequence[str], draw: random.Random) -> Iterator[Source]:
    """Sentences in random order, one of each document in turn."""
    each = []
    for id in sorted(documents):
        found = [source for chunk in store.chunks(id) for source in _sentences(chunk, draw)]
        each.append(sorted(draw.sample(found, len(found)), key=lambda source: not source.answer))
    draw.shuffle(each)
    return (source for source in chain.from_iterable(zip_longest(*each)) if source)


def _sentences(chunk: Chunk, draw: random.Random) -> Iterator[Source]:
    for match in _SENTENCE.finditer(chunk.text):
        quote = match[0].strip()
        whole = quote[0].isupper() or quote[0].isdigit() or ": " in quote
        if whole and len(quote.split()) in WORDS and not quote.startswith("#"):
            source = Source(chunk, quote, chunk.start + match.start())
            answers = [answer.strip().rstrip(".,:") for answer in _ANSWER.findall(quote)]
            # A question names its title, and so would hold such an answer.
            answers = [answer for answer in answers if answer.casefold() not in source.title.casefold()]
            yield replace(source, answer=draw.choice(answers) if answers else "")


def _draft(
    store: Searchable, source: Source, generator: Generator, made: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, Any], str]:
    """A row of the questions file, and why it fails."""
    turns = [Message("system", INSTRUCTION)]
    for shown, replied in SHOTS:
        turns += [Message("user", shown), Message("assistant", replied)]
    wanted = f"\nAnswer: {source.answer}" if source.answer else ""
    sentence = " ".join(source.quote.split())
    turns.append(Message("user", f"About: {source.title}\nSentence: {sentence}{wanted}"))
    reply = generator.generate(turns, max_tokens=96).text
    match = _REPLY.search(reply)
    if match is None:
        return {"reply": reply}, "the reply has not the form that was asked for"
    # A small model rewords the answer that it was given, while its question is about that very one.
    answer = source.answer or match["answer"].strip().strip("\"'“”").rstrip(".").strip()
    row = {
        "question": match["question"],
        "references": [answer],
        "evidence": [{"document": source.chunk.document_id, "quote": source.quote}],
        "group": source.chunk.document_id,
        "kind": "drafted",
    }
    return row, _fault(store, source, match["question"], answer, generator, made)


def _fault(
    store: Searchable,
    source: Source,
    question: str,
    answer: str,
    generator: Generator,
    made: Sequence[Mapping[str, Any]],
) -> str:
    """Why a draft cannot be kept; "" for one that holds. The model is asked last."""
    document = store.document(source.chunk.document_id)
    if document is None or document.text[source.start : source.start + len(source.quote)] != source.quote:
        return "the quote is not in the document"
    if not re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", source.quote, re.IGNORECASE) or not answer:
        return "the answer is not in its sentence"
    if 2 * len(answer.split()) > len(source.quote.split()):
        return "the answer is most of its sentence"
    if not question.endswith("?") or len(question.split()) < 4:
        return "the question is none"
    if _POINTING.search(question):
        return "the question points at the text in place of naming what it is about"
    if answer.casefold() in question.casefold():
        return "the question holds its answer"
    if _about(question, f"{source.chunk.text} {source.title}") < ABOUT:
        return "the question is about something else"
    if any(similarity(question, row["question"]) >= SIMILAR for row in made):
        return "the question is nearly another one"
    example = Example("draft", question, (answer,))
    said = RAG(generator, _Gold(source.chunk), k=1).answer(question)
    if (recall.score(example, said) or 0.0) < RIGHT:
        return "the model does not answer it from its own passage"
    return ""


def _about(question: str, passage: str) -> float:
    """Share of the question's content words that the passage holds."""
    known = {stem(word) for word in content_words(passage)}
    asked = {stem(word) for word in content_words(question)}
    return len(asked & known) / max(1, len(asked))


class _Gold:
    """The retriever that always finds the right passage."""

    def __init__(self, chunk: Chunk) -> None:
        self._chunk = chunk

    def retrieve(self, query: str, k: int, *, filter: Filter | None = None) -> list[Hit]:
        return [Hit(self._chunk, 1.0)]
