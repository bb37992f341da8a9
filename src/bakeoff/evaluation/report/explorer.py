"""What the question explorer shows, as one JSON value: every passage stands in it once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bakeoff.evaluation import checks, records, stats
from bakeoff.evaluation.causes import CLOSED, GOLD_ONLY
from bakeoff.evaluation.comparison import RIGHT, Comparison
from bakeoff.evaluation.report import numbers
from bakeoff.evaluation.report.packing import Passages, Steps, one_line
from bakeoff.retrieval.citing import SUPPORTED
from bakeoff.types import Chunk, Evidence, Example, Trial

Again = Mapping[tuple[str, str], list[tuple[str, str]]]
"""(System, example id) -> what else it was given, and what it said then."""


def asked_again(comparison: Comparison, folder: Path) -> Again:
    """What systems that were diagnosed said to the same questions without passages, and with the right one only."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for system in comparison.diagnoses:
        for row in records.read(folder / "diagnosis" / system / "trials.jsonl"):
            if row["system"] in (CLOSED, GOLD_ONLY):
                said = (row["system"].split(" ", 1)[1], row["answer"]["text"])
                found.setdefault((system, row["example_id"]), []).append(said)
    return found


def explorer(
    comparison: Comparison, systems: Sequence[str], pair: tuple[str, str], again: Again | None = None
) -> dict[str, Any]:
    """Systems in the order given, passages and questions; `pair` are held against each other at first."""
    passages: dict[str, tuple[int, Chunk]] = {}
    for trial in comparison.trials:
        for hit in trial.answer.hits:
            passages.setdefault(hit.chunk.id, (len(passages), hit.chunk))
    trials = {(trial.example_id, trial.system): trial for trial in comparison.trials}
    groups = list(comparison.groups(list(comparison.examples)))
    numbered = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    lines = [one_line(chunk.text) for _, chunk in passages.values()]
    questions = []
    for example, group in zip(comparison.examples.values(), groups, strict=True):
        asked = [trials.get((example.id, system)) for system in systems]
        steps = Steps(passages, lines)
        answers = [_answer(comparison, trial, passages, steps, again or {}) if trial else None for trial in asked]
        about = _question(example, asked, passages)
        questions.append({**about, "group": numbered[group], "answers": answers, "details": steps.details})
    return {
        "systems": list(systems),
        "pair": pair,
        "kinds": sorted({example.kind for example in comparison.examples.values() if example.kind}),
        "questions": questions,
        "checking": _checking(comparison, systems, len(numbered)),
        "chunks": [
            {"document_id": chunk.document_id, "place": _place(chunk), "text": chunk.text}
            for _, chunk in passages.values()
        ],
    }


def _checking(comparison: Comparison, systems: Sequence[str], clusters: int) -> dict[str, Any]:
    """What the page needs to mark answers and to estimate from the marks as `Comparison.hand_checked` does."""
    places = {id: place for place, id in enumerate(comparison.examples)}
    told = "\n".join(f"{trial.system} {trial.example_id} {trial.answer.text}" for trial in comparison.trials)
    return {
        "run": hashlib.sha256(told.encode(errors="replace")).hexdigest()[:16],
        "sample": [places[id] for id in checks.drawn(comparison)],
        "marks": [
            [systems.index(system), places[id], right]
            for (system, id), right in comparison.checks.items()
            if system in systems and id in places
        ],
        "running": list(comparison.running),
        "metric": comparison.primary,
        "right": RIGHT,
        "least": checks.LEAST,
        "critical": [stats.t_critical(degrees) for degrees in range(1, clusters)],
    }


def _question(example: Example, asked: Iterable[Trial | None], passages: Passages) -> dict[str, Any]:
    shown = {hit.chunk.id for trial in asked if trial for hit in trial.answer.hits}
    marks = {passages[id][0]: evidence_spans(example.evidence, passages[id][1]) for id in sorted(shown)}
    return {
        "id": example.id,
        "question": example.question,
        "kind": example.kind,
        "references": example.references or ((example.label,) if example.label else ()),
        "answerable": example.answerable,
        "evidence": bool(example.evidence),
        "marks": {index: spans for index, spans in marks.items() if spans},
    }


def _answer(comparison: Comparison, trial: Trial, passages: Passages, steps: Steps, again: Again) -> dict[str, Any]:
    answer = trial.answer
    scores = comparison.scores.get((trial.system, trial.example_id), {})
    return {
        "verdict": comparison.verdict(trial),
        "text": answer.text,
        "error": trial.error,
        "outcome": answer.outcome,
        "score": scores.get(comparison.primary),
        "scores": [
            f"{metric} {numbers.percent(score)}"
            for metric in comparison.metrics
            if (score := scores.get(metric)) is not None
        ],
        "seconds": numbers.seconds(trial.seconds) if trial.alone else "",
        "wall": round(trial.seconds, 4) if trial.alone else None,
        "usage": [answer.usage.fresh, answer.usage.cached, answer.usage.output, float(f"{answer.usage.seconds:.12g}")],
        "citations": [
            {
                "number": citation.number,
                "document_id": citation.chunk.document_id,
                "quote": citation.quote,
                "found": citation.made_by == "locator",
            }
            for citation in answer.citations
        ],
        "passages": [[passages[hit.chunk.id][0], f"{hit.score:.3g}"] for hit in answer.hits],
        "unsupported": [
            [utf16(answer.text[:end]) for end in (sentence.start, sentence.end)]
            for sentence in answer.sentences
            if sentence.support < SUPPORTED
        ],
        "confidence": "" if answer.confidence is None else f"confidence {numbers.percent(answer.confidence)}",
        "notes": [*answer.notes, *_cause(comparison, trial)],
        "again": again.get((trial.system, trial.example_id), []),
        "trace": steps.add(answer.trace, answer.hits),
    }


def _cause(comparison: Comparison, trial: Trial) -> list[str]:
    """Why the answer is wrong, where that was diagnosed."""
    found = comparison.diagnoses.get(trial.system)
    return [
        f"why wrong: {one.cause}"
        + (f", for {one.document}" if one.document else "")
        + (f"; binding: {one.binding}" if one.binding != one.cause else "")
        + (" (unsure)" if one.unsure else "")
        for one in (found.findings if found else ())
        if one.example_id == trial.example_id
    ]


def evidence_spans(evidence: Iterable[Evidence], chunk: Chunk) -> list[list[int]]:
    """Where `chunk` shows evidence, as [start, end] in UTF-16 units, which JavaScript counts; sorted and disjoint."""
    spans = []
    for item in evidence:
        if item.document_id != chunk.document_id or not item.in_chunk(chunk):
            continue
        if item.start >= 0:
            spans.append((max(item.start, chunk.start) - chunk.start, min(item.end, chunk.end) - chunk.start))
        elif found := re.search(r"\s+".join(map(re.escape, item.quote.split())), chunk.text):
            spans.append(found.span())
    disjoint: list[list[int]] = []
    for start, end in sorted(spans):
        if disjoint and start <= disjoint[-1][1]:
            disjoint[-1][1] = max(end, disjoint[-1][1])
        elif start < end:
            disjoint.append([start, end])
    return [[utf16(chunk.text[:offset]) for offset in span] for span in disjoint]


def utf16(text: str) -> int:
    """Length in the units of JavaScript."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _place(chunk: Chunk) -> str:
    return ", ".join(part for part in (f"page {chunk.page}" if chunk.page else "", chunk.section) if part)
