"""Three collections as folders of documents and examples with evidence: XQuAD, CovidQA and pooled HotpotQA."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bakeoff.types import Evidence, Example


def xquad(data: Path, root: Path) -> Iterator[Example]:
    """A file for each of the 240 paragraphs; 48 articles are the groups."""
    for article in json.loads((data / "xquad" / "xquad.en.json").read_text(encoding="utf-8"))["data"]:
        for number, paragraph in enumerate(article["paragraphs"]):
            name = f"{_slug(article['title'])}-{number}.txt"
            (root / name).write_text(paragraph["context"], encoding="utf-8")
            for entry in paragraph["qas"]:
                yield _example(entry["id"], entry, f"{root.name}/{name}", paragraph["context"], article["title"])


def covidqa(data: Path, root: Path) -> Iterator[Example]:
    """A file for each of the 98 papers, which are the groups."""
    papers = json.loads((data / "covidqa" / "200423_covidQA.json").read_text(encoding="utf-8"))["data"]
    for number, paper in enumerate(papers):
        text, name = paper["paragraphs"][0]["context"], f"{number:03}.txt"
        (root / name).write_text(text, encoding="utf-8")
        for entry in paper["paragraphs"][0]["qas"]:
            yield _example(f"{number}-{entry['id']}", entry, f"{root.name}/{name}", text, str(number))


def hotpotqa(data: Path, root: Path) -> Iterator[Example]:
    """A file for each paragraph of all questions; the evidence is every supporting sentence, of two paragraphs."""
    path = data / "hotpotqa100" / "hotpotqa_distractor_100.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        paragraphs = dict(zip(entry["context"]["title"], entry["context"]["sentences"], strict=True))
        for title, sentences in paragraphs.items():
            (root / f"{_slug(title)}.md").write_text(f"# {title}\n\n{''.join(sentences)}", encoding="utf-8")
        facts = entry["supporting_facts"]
        evidence = tuple(
            Evidence(f"{root.name}/{_slug(title)}.md", -1, -1, paragraphs[title][number].strip())
            for title, number in zip(facts["title"], facts["sent_id"], strict=True)
            if number < len(paragraphs[title])
        )
        yield Example(entry["id"], entry["question"], (entry["answer"],), evidence, group=entry["id"])


COLLECTIONS: Mapping[str, Callable[[Path, Path], Iterator[Example]]] = {
    "XQuAD": xquad,
    "CovidQA": covidqa,
    "HotpotQA": hotpotqa,
}


def sample(examples: list[Example], count: int, seed: int = 7) -> list[Example]:
    """A fixed random part, in the order of the collection."""
    chosen = {id(one) for one in random.Random(seed).sample(examples, min(count, len(examples)))}
    return [one for one in examples if id(one) in chosen]


def _example(id: str, entry: Mapping[str, Any], document: str, text: str, group: str) -> Example:
    answers = [answer["text"] for answer in entry["answers"]]
    start = entry["answers"][0]["answer_start"]
    # Offsets shift where the loader takes white space away, so the quote is located anew.
    line = text[text.rfind("\n", 0, start) + 1 : start + len(answers[0])][-200:]
    evidence = (Evidence(document, -1, -1, line.strip()),)
    return Example(str(id), entry["question"], tuple(dict.fromkeys(answers)), evidence, group=group)


def _slug(title: str) -> str:
    return "".join(character if character.isalnum() else "_" for character in title)
