"""The same seeded faults given to `bakeoff check` and to TRL's trainers: which of them does each report?

    make bench-preflight                # PART=speed for the seconds that 10,000 rows take

The faults are those of tests/seeded_faults.py, on a tiny random Llama. TRL (in `.venv-peers`) gets the same files with
its defaults, trains two steps and evaluates; an exception counts as a report, and so does any warning, in Python's or
in the log, that sound data do not draw. Writes docs/results.md.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

PEERS = Path(".venv-peers/bin/python")
TESTS = Path(__file__).parent.parent / "tests"
LOGGERS = ("", "transformers", "trl", "peft", "accelerate", "datasets")


# ---------------------------------------------------------------- ours


def plant(folder: Path) -> list[str]:
    """Write all projects; returns their names, the sound ones first."""
    sys.path.insert(0, str(TESTS))
    import seeded_faults as seeded
    import tiny_model

    model = tiny_model.save(folder / "tiny" / "model")
    pairs = [
        {"prompt": row["prompt"], "chosen": row["completion"], "rejected": "No idea at all."}
        for row in seeded.sound(seeded.asked)
    ]
    labels = ["refund", "repair"] * 6
    sound = {
        "chat": (seeded.TRAIN, seeded.TEST),
        "completion": (seeded.sound(seeded.asked), seeded.sound(seeded.asked, 100, 8)),
        "turns": (seeded.sound(seeded.turns), seeded.sound(seeded.turns, 100, 8)),
        "labels": (seeded.labelled(labels), seeded.labelled(labels, 100)),
        "pairs": (pairs, []),
    }
    faults = [seeded.Fault(f"sound-{name}", *parts) for name, parts in sound.items()] + seeded.faults()
    for fault in faults:
        seeded.plant(fault, model, folder / fault.kind)
        facts = {"kind": fault.kind, "max_length": fault.max_length, "checkpoint": fault.checkpoint}
        (folder / fault.kind / "fault.json").write_text(json.dumps(facts))
    return [fault.kind for fault in faults]


def ours(folder: Path, kind: str) -> str:
    """What `bakeoff check` says of the fault, "" where it says nothing."""
    from bakeoff.errors import DataError
    from bakeoff.models import weights
    from bakeoff.project import Project

    facts = json.loads((folder / "fault.json").read_text())
    if facts["checkpoint"]:
        base = weights.resolve(str(folder / "model"))
        known = {"base_fingerprint": base.fingerprint, "template_sha256": weights.template(base).sha256}
        path = folder / "checkpoints" / "x" / "checkpoint.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"format": 1, "method": "lora", "base": base.name, **known, **facts["checkpoint"]}))
    project = Project(folder)
    if (folder / "documents").is_dir():
        project.ingest()
    try:
        found = project.check().problems
    except DataError as error:
        return str(error).replace(f"{folder}/", "")
    if kind.startswith("sound"):
        return "; ".join(problem.what for problem in found)
    return next((problem.what for problem in found if problem.kind == kind), "")


# ---------------------------------------------------------------- TRL


def trl(folder: Path, out: Any) -> None:
    """Train on one project; sends all that was reported."""
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    for name in LOGGERS:
        logging.getLogger(name).addHandler(handler)
    error = ""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            train(folder)
        except Exception as raised:  # a refusal is an outcome
            error = f"{type(raised).__name__}: {raised}"
    out.put((error, said + [str(warning.message) for warning in caught]))


def train(folder: Path) -> None:
    import torch
    from datasets import load_dataset
    from transformers import AutoModelForCausalLM
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

    torch.set_num_threads(1)
    facts = json.loads((folder / "fault.json").read_text())
    parts = {
        part: load_dataset("json", data_files=str(path), split="train", cache_dir=str(folder / "cache")).map(
            shared, remove_columns=None
        )
        for part in ("train", "test")
        if (path := folder / "data" / f"{part}.jsonl").stat().st_size
    }
    for part, table in parts.items():
        spare = set(table.column_names) - {"messages", "prompt", "completion", "chosen", "rejected", "foo", "bar"}
        parts[part] = table.remove_columns(sorted(spare))
    preference = "chosen" in parts["train"].column_names
    trainer, config = (DPOTrainer, DPOConfig) if preference else (SFTTrainer, SFTConfig)
    options = config(
        output_dir=str(folder / "trl"),
        max_steps=2,
        per_device_train_batch_size=4,
        max_length=facts["max_length"],
        report_to="none",
        use_cpu=True,
        bf16=False,
    )
    model: Any = str(folder / "model")
    if facts["checkpoint"]:
        from peft import LoraConfig, PeftModel, get_peft_model

        get_peft_model(AutoModelForCausalLM.from_pretrained(model), LoraConfig()).save_pretrained(folder / "adapter")
        other = AutoModelForCausalLM.from_pretrained(model)
        with torch.no_grad():
            for weight in other.parameters():
                weight.copy_(weight.flip(0))
        other.save_pretrained(model)
        path = folder / "model" / "tokenizer_config.json"
        path.write_text(path.read_text().replace("<|im_end|>\\\\n", "<|im_end|>\\\\n\\\\n"))
        base = AutoModelForCausalLM.from_pretrained(model)
        model = PeftModel.from_pretrained(base, folder / "adapter", is_trainable=True)
    made = trainer(model=model, args=options, train_dataset=parts["train"], eval_dataset=parts.get("test"))
    made.train()
    if parts.get("test") is not None:
        made.evaluate()


def shared(row: dict[str, Any]) -> dict[str, Any]:
    """Our own columns and labels under the names that TRL takes."""
    if "question" in row:
        return {"prompt": row["question"], "completion": row["references"][0]}
    if "label" in row:
        return {"prompt": row["text"], "completion": row["label"]}
    return {}


def train_all(folder: Path) -> None:
    """Each project in a process of its own: what is warned of once is warned of in each."""
    import datasets
    import trl as package

    assert package.__version__
    datasets.disable_progress_bars()
    forked = multiprocessing.get_context("fork")
    found = {}
    for project in sorted(path.parent for path in folder.glob("*/fault.json")):
        out = forked.SimpleQueue()
        process = forked.Process(target=trl, args=(project, out))
        process.start()
        process.join()
        found[project.name] = ("the process ended", []) if out.empty() else out.get()
    (folder / "trl.json").write_text(json.dumps({"version": version("trl"), "found": found}))


def plain(message: str) -> str:
    """Without paths and numbers, one line."""
    return " ".join(re.sub(r"\d+(\.\d+)?|/\S+", "#", message).split())


def main() -> None:
    """Without arguments: run both, and write the table."""
    if len(sys.argv) > 1:
        train_all(Path(sys.argv[1]))
        return
    from results import machine, publish, table

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        kinds = plant(folder)
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HOME": scratch}
        environment.pop("PYTHONPATH", None)
        subprocess.run([str(PEERS), __file__, scratch], check=True, env=environment, stdout=subprocess.DEVNULL)
        theirs = json.loads((folder / "trl.json").read_text())
        said = {kind: ours(folder / kind, kind) for kind in kinds}
    usual = {plain(line) for kind in kinds if kind.startswith("sound") for line in theirs["found"][kind][1]}
    for kind in kinds:
        if kind.startswith("sound") and (said[kind] or theirs["found"][kind][0]):
            sys.exit(f"{kind} is not sound: {said[kind]} {theirs['found'][kind][0]}")
    lines: list[list[str]] = []
    counts = [0, 0, 0]
    for kind in (kind for kind in kinds if not kind.startswith("sound")):
        error, warned = theirs["found"][kind]
        new = list(dict.fromkeys(plain(line) for line in warned if plain(line) not in usual))
        told = f"error: {plain(error)}" if error else f"warning: {new[0]}" if new else "-"
        counts = [counts[0] + bool(said[kind]), counts[1] + bool(error), counts[2] + bool(new and not error)]
        lines.append([f"`{kind}`", "yes" if said[kind] else "no", told[:110].replace("|", "\\|").replace("<", "&lt;")])
    text = (
        f"{counts[0]} of {len(lines)} are reported by `bakeoff check`, {counts[1] + counts[2]} by TRL "
        f"{theirs['version']}: {counts[1]} by an exception, {counts[2]} by a warning.\n\n"
        f"{table(['fault', 'Bakeoff', 'TRL says'], lines)}\n\n`make bench-preflight` on {machine()}."
    )
    publish("preflight", text)
    print(text)


ROWS = 10_000
WORDS = {"rows": (30, 180), "texts": (900, 1_500)}
"""Fewest and most words of each."""


def speed() -> None:
    """Seconds of the whole check of so many rows, tokenised with the packaged model."""
    import random
    import time

    from results import machine, publish, table

    from bakeoff.tuning.check import preflight
    from bakeoff.types import Example

    draw = random.Random(5)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(5_000)]
    rows = []
    for name, span in WORDS.items():
        said = [" ".join(draw.choices(words, k=draw.randint(*span))) for _ in range(ROWS)]
        if name == "texts":
            examples = [Example(str(n), "", text=text) for n, text in enumerate(said)]
        else:
            examples = [Example(str(n), text, (" ".join(draw.choices(words, k=12)),)) for n, text in enumerate(said)]
        cpu, wall = time.process_time(), time.perf_counter()
        found = preflight(examples[: ROWS * 9 // 10], examples[ROWS * 9 // 10 :], base="smollm2-135m")
        tokens = sum(found.plans[0].lengths.rows) if found.plans else found.text_tokens * 10 / 9
        seconds = (time.process_time() - cpu, time.perf_counter() - wall)
        rows.append([f"{ROWS:,} {name}", f"{tokens / ROWS:,.0f}", *(f"{one:.1f}" for one in seconds)])
    text = f"{table(['checked', 'tokens each', 'CPU seconds', 'seconds'], rows)}\n\n"
    text += f"`make bench-preflight PART=speed` on {machine()}."
    publish("preflight-speed", text)
    print(text)


if __name__ == "__main__":
    if sys.argv[1:] == ["--part", "speed"]:
        speed()
        sys.exit()
    main()
