"""Answers of plain RAG on three collections: what their citations are worth, and when it should refuse.

    make bench-answers DATA=path/to/data

Every question is asked twice: as it is, and as if the documents that hold its answer were not there. Half of the
articles, papers or questions fit the decider, the other half is reported. Drafts are kept in .bench and not made again.
Writes docs/results.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from questions import COLLECTIONS, sample
from results import machine, publish, table

from bakeoff.corpus import Corpus
from bakeoff.evaluation.abstention import risk_coverage
from bakeoff.evaluation.comparison import RIGHT
from bakeoff.evaluation.metrics import recall, support
from bakeoff.evaluation.stats import Interval, score_interval
from bakeoff.examples import locate
from bakeoff.models import generator
from bakeoff.retrieval import BM25, Dense, Hybrid, Without
from bakeoff.systems import RAG
from bakeoff.systems.decider import Draft, fit
from bakeoff.types import Answer, Chunk, Example, Hit

HOLDS = 0.5
"""From this score of the metric `support` on, a sentence counts as supported."""
SHARES = (0.25, 0.5, 0.75, 1.0)


def main() -> None:
    """Ask, fit, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds xquad, covidqa and hotpotqa100")
    parser.add_argument("--out", type=Path, default=Path(".bench/answers"))
    parser.add_argument("--questions", type=int, default=480, help="of each collection, where it has so many")
    arguments = parser.parse_args()
    rows, curves, cited = [], [], []
    for name, read in COLLECTIONS.items():
        root = arguments.out / name
        root.mkdir(parents=True, exist_ok=True)
        examples = sample(list(read(arguments.data, root)), arguments.questions)
        corpus = Corpus(arguments.out / f"index-{name}", "minilm-int8")
        corpus.sync(root)
        examples, _ = locate(examples, corpus.locate)
        made = ask(corpus, [one for one in examples if one.evidence], arguments.out / f"{name}.jsonl")
        cited.append([name, *citations(corpus, made)])
        row, curve = abstention(made)
        rows.append([name, *row])
        curves.append([name, *curve])
    head = ["plain RAG", "answers", "sentences", "cited", "cited and supported", "of it by the model", "marks removed"]
    text = f"{table([*head, 'citations off their bytes', 'not retrieved'], cited)}\n\n"
    head = ["refusing", "fitted to", "asked", "precision", "recall", "the model alone: precision", "recall", "AUC"]
    text += f"{table(head, rows)}\n\n"
    head = ["wrong among the answered", *(f"{share:.0%} answered" for share in SHARES)]
    text += f"{table(head, curves)}\n\n"
    publish("answers", f"{text}`make bench-answers DATA=...`, SmolLM2-135M-Instruct, on {machine()}.")
    print(text)


def ask(corpus: Corpus, examples: Sequence[Example], path: Path) -> list[dict[str, Any]]:
    """A record for each draft, with and without the documents that hold the answer; goes on where it stopped."""
    held = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    known = {(record["id"], record["removed"]) for record in held}
    system = RAG(generator("smollm2-135m"), Hybrid(BM25(corpus), Dense(corpus)))
    with path.open("a") as file:
        for number, example in enumerate(examples, start=1):
            gold = {evidence.document_id for evidence in example.evidence}
            for removed in (False, True):
                if (example.id, removed) in known:
                    continue
                asked = system.over(partial(Without, documents=gold)) if removed else system
                answer, features = asked.draft(example.question)
                record = {
                    "id": example.id,
                    "removed": removed,
                    "group": example.group,
                    "question": example.question,
                    "text": answer.text,
                    "passages": [hit.chunk.text for hit in answer.hits],
                    "sentences": [(one.start, one.end, bool(one.citations)) for one in answer.sentences],
                    "features": features,
                    "right": not removed and (recall.score(example, answer) or 0.0) >= RIGHT,
                    "refused": answer.outcome != "answered",
                    **facts(corpus, answer),
                }
                held.append(record)
                file.write(json.dumps(record) + "\n")
                file.flush()
            print(f"\r{path.stem} {number}/{len(examples)}", end="", file=sys.stderr)
    wanted = {example.id for example in examples}
    return [record for record in held if record["id"] in wanted]


def supports(record: dict[str, Any]) -> list[tuple[bool, float | None]]:
    """For each sentence whether it is cited, and the score of the metric `support` for it alone; None: a bare yes."""
    hits = tuple(Hit(Chunk(str(n), "", text, 0, len(text)), 1.0) for n, text in enumerate(record["passages"]))
    example, found = Example(record["id"], record["question"]), []
    for start, end, is_cited in () if record["refused"] else record["sentences"]:
        found.append((is_cited, support.score(example, Answer(record["text"][start:end], hits=hits))))
    return found


def facts(corpus: Corpus, answer: Answer) -> dict[str, int]:
    """What can be wrong with a citation, counted."""
    documents = [corpus.store.document(citation.chunk.document_id) for citation in answer.citations]
    shown = [hit.chunk for hit in answer.hits]
    return {
        "by_model": sum(citation.made_by == "generator" for citation in answer.citations),
        "citations": len(answer.citations),
        "marks_removed": answer.removed_citations,
        "off": sum(
            document is None or document.text[citation.start : citation.end] != citation.quote
            for citation, document in zip(answer.citations, documents, strict=True)
        ),
        "not_retrieved": sum(citation.chunk not in shown for citation in answer.citations),
    }


def citations(corpus: Corpus, made: Sequence[dict[str, Any]]) -> list[str]:
    """Cells of the first table."""
    sentences = [sentence for record in made for sentence in supports(record)]
    cited = [score for is_cited, score in sentences if is_cited]
    total = sum(record["citations"] for record in made)
    return [
        str(len(made)),
        str(len(sentences)),
        shown(score_interval([float(is_cited) for is_cited, _ in sentences])),
        shown(score_interval([float(score >= HOLDS) for score in cited if score is not None])),
        f"{sum(record['by_model'] for record in made)} of {total}",
        str(sum(record["marks_removed"] for record in made)),
        str(sum(record["off"] for record in made)),
        str(sum(record["not_retrieved"] for record in made)),
    ]


def abstention(made: Sequence[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """Cells of the second and the third table: fitted to one half of the groups, reported on the other."""
    groups = sorted({record["group"] for record in made})
    fitting = set(groups[::2])
    drafts = [
        Draft(record["features"], not record["removed"], record["right"], record["group"], record["removed"])
        for record in made
    ]
    decider, _ = fit([draft for draft in drafts if draft.group in fitting])
    pairs = [(draft, record) for draft, record in zip(drafts, made, strict=True) if draft.group not in fitting]
    refused = [not decider.judge(draft.features)[0] for draft, _ in pairs]
    alone = [record["refused"] for _, record in pairs]
    names = [draft.group for draft, _ in pairs]
    truth = [not draft.answerable for draft, _ in pairs]
    chances = [decider.answerability(draft.features) for draft, _ in pairs]
    row = [str(decider.n), str(len(pairs)), *rates(refused, truth, names), *rates(alone, truth, names)]
    asked = [(decider.judge(draft.features)[1], draft.right) for draft, _ in pairs if not draft.removed]
    curve = risk_coverage([chance for chance, _ in asked], [right for _, right in asked])
    points = [min(curve, key=lambda point, share=share: abs(point[0] - share)) for share in SHARES]
    return [*row, f"{auc(chances, truth):.2f}"], [f"{100 * risk:.0f}" for _, risk in points]


def rates(refused: Sequence[bool], truth: Sequence[bool], groups: Sequence[str]) -> list[str]:
    """Precision and recall of refusing, with their intervals."""
    precise = [(float(right), group) for no, right, group in zip(refused, truth, groups, strict=True) if no]
    found = [(float(no), group) for no, right, group in zip(refused, truth, groups, strict=True) if right]
    return [
        shown(score_interval([value for value, _ in pairs], [group for _, group in pairs])) if pairs else "-"
        for pairs in (precise, found)
    ]


def auc(chances: Sequence[float], truth: Sequence[bool]) -> float:
    """Chance that something answerable looks more so than something that is not."""
    yes = np.array([chance for chance, no in zip(chances, truth, strict=True) if not no])
    no = np.array([chance for chance, no in zip(chances, truth, strict=True) if no])
    return float(np.mean((yes[:, None] > no) + 0.5 * (yes[:, None] == no)))


def shown(interval: Interval) -> str:
    return f"{100 * interval.estimate:.0f} [{100 * interval.low:.0f}, {100 * interval.high:.0f}]"


if __name__ == "__main__":
    main()
