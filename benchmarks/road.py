"""The road on XQuAD English: prompt, RAG, LoRA and LoRA + RAG on SmolLM2-135M, held-out articles.

    make bench-road DATA=path/to/data

Corpus: its 240 paragraphs, one document each. Split by article, never by question. Writes the report's table with
the command and the machine into docs/results.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from results import machine, publish

from bakeoff.examples import Examples
from bakeoff.models import engine
from bakeoff.project import Project
from bakeoff.types import Example

TOML = """\
base = "smollm2-135m"
seed = 7
[corpus]
sources = ["paragraphs"]
[examples]
path = "questions.jsonl"
[systems.zero-shot]
type = "prompt"
[systems.few-shot]
type = "prompt"
shots = 4
[systems.rag]
type = "rag"
k = 3
[systems.lora]
type = "prompt"
tuned = "closed-book"
[systems.lora-rag]
type = "rag"
k = 3
tuned = "reader"
[tune.closed-book]
method = "lora"
lesson = "zero-shot"
epochs = 1
[tune.reader]
method = "lora"
lesson = "rag"
epochs = 1
[compare]
metrics = ["recall", "exact", "f1", "support", "retrieval_recall", "ndcg"]
baseline = "zero-shot"
"""


PROMPTS_CHOSEN_ON = 10
ENGINES = {"onnx": "ONNX Runtime", "llamacpp": "llama.cpp"}
"""The first ten articles were looked at when prompts were chosen (docs/log.md): they are learnt from, never asked."""


def write_project(data: Path, folder: Path, questions: int) -> None:
    """Paragraphs as text files, and the questions grouped by article.

    An evenly spread sample of `questions` is divided by article into test, validation and training; what the sample
    leaves of the training articles is learnt from too.
    """
    articles = json.loads((data / "xquad" / "xquad.en.json").read_text(encoding="utf-8"))["data"]
    (folder / "paragraphs").mkdir(parents=True, exist_ok=True)
    rows = []
    for article_number, article in enumerate(articles):
        for number, paragraph in enumerate(article["paragraphs"]):
            name = f"{article_number:02}-{number}.txt"
            text = paragraph["context"].strip()
            (folder / "paragraphs" / name).write_text(text + "\n", encoding="utf-8")
            shift = len(paragraph["context"]) - len(paragraph["context"].lstrip())
            for entry in paragraph["qas"]:
                start = entry["answers"][0]["answer_start"] - shift
                rows.append(
                    {
                        "id": entry["id"],
                        "question": entry["question"],
                        "references": sorted({answer["text"] for answer in entry["answers"]}),
                        "evidence": [
                            {
                                "document": f"paragraphs/{name}",
                                "start": start,
                                "end": start + len(entry["answers"][0]["text"]),
                            }
                        ],
                        "group": f"article-{article_number:02}",
                    }
                )
    asked = [row for row in rows if int(row["group"][-2:]) >= PROMPTS_CHOSEN_ON]
    sample = [asked[int(place * len(asked) / questions)] for place in range(min(questions, len(asked)))]
    parts = Examples([Example(row["id"], row["question"], group=row["group"]) for row in sample])
    split = parts.split(test=0.43, valid=0.07, seed=7)
    held_out = {e.group: name for name, part in (("test", split.test), ("valid", split.valid)) for e in part}
    chosen = {row["id"] for row in sample}
    rows = [
        {**row, "split": held_out.get(row["group"], "train")}
        for row in rows
        if row["group"] not in held_out or row["id"] in chosen
    ]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (folder / "questions.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "bakeoff.toml").write_text(TOML, encoding="utf-8")


def main() -> None:
    """Run the road and write docs/results.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds xquad/xquad.en.json")
    parser.add_argument("--out", type=Path, default=Path(".bench/road"), help="the project that is made")
    parser.add_argument("--questions", type=int, default=360, help="about how many questions to take")
    arguments = parser.parse_args()
    if not (arguments.data / "xquad" / "xquad.en.json").is_file():
        sys.exit(f"skipped: {arguments.data}/xquad/xquad.en.json is not there; give its folder with --data")
    if not (arguments.out / "bakeoff.toml").exists():
        write_project(arguments.data, arguments.out, arguments.questions)
    project = Project(arguments.out)
    comparison = project.compare(progress=_print)
    recommendation, paths = project.report("latest", comparison)
    split = project.split
    text = (
        f"`make bench-road DATA=...`: SmolLM2-135M-Instruct (eight bits, {ENGINES[engine(project.config.base)]}) on "
        "the 240 paragraphs of XQuAD English; "
        f"{len(split.train)} training, {len(split.valid)} validation and {len(split.test)} test questions, split by "
        f"article. Machine: {machine()}.\n\n{paths['md'].read_text(encoding='utf-8')}"
    )
    publish("road", text)
    print(comparison)
    print(recommendation)


_last = [""]


def _print(done: int, total: int, text: str) -> None:
    if text.split(":")[0] != _last[0] or done == total:
        _last[0] = text.split(":")[0]
        print(f"{text} {done}/{total}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
