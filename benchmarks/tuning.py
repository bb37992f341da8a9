"""Training speed: our LoRA beside TRL's SFTTrainer on the same model, data and steps, and the cached frozen layers.

    make bench-tuning DATA=path/to/data             # PART=lora, freeze or profile for one of them

Lessons are questions of XQuAD with their paragraph. Each contestant trains in a process of its own: the same LoRA
(rank 16, every linear layer), batches of 4, one epoch, learning rate 1e-3; TRL with its defaults, and without gradient
checkpointing, which is off where speed matters. Tokens are real ones, padding not counted. The loss on held-out
lessons is measured by our code for all adapters. Writes docs/results.md.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PEERS = Path(".venv-peers/bin/python")
ROUNDS = 2
PARAMETERS = 106e6
"""Of SmolLM2-135M's layers, by which all tokens are multiplied; the embeddings are looked up."""
EPOCHS_OF_FREEZE = 3
KINDS = {
    "products of matrices": ("aten::mm", "aten::addmm"),
    "products and softmax of attention": ("aten::bmm", "softmax"),
    "copies and casts": ("aten::copy_", "aten::_to_copy", "aten::clone"),
    "sums and products of elements": (
        "aten::mul",
        "aten::add",
        "silu",
        "aten::pow",
        "aten::div",
        "aten::sum",
        "aten::neg",
    ),
}
"""Beginnings or parts of the names of torch's operators -> what they are; all else is the rest."""
PROFILED = 24
"""Lessons."""


def main() -> None:
    """Run all, or the one contestant that is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds xquad")
    parser.add_argument("--lessons", type=int, default=120)
    parser.add_argument("--part", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        name, folder = arguments.one
        print(json.dumps(CONTESTANTS[name](Path(folder))))
        return
    for part in arguments.part:
        with tempfile.TemporaryDirectory() as scratch:
            prepare(arguments.data, arguments.lessons, Path(scratch))
            PARTS[part](arguments.data, arguments.lessons, Path(scratch))


def lora_beside_trl(data: Path, count: int, folder: Path) -> None:
    """Every contestant in every round, in turn."""
    from results import machine, publish, table

    found: dict[str, list[dict[str, float]]] = {name: [] for name in LORAS}
    for _ in range(ROUNDS):
        for name in LORAS:
            found[name].append(run(name, folder, data))
    peak = max(gigaflops() for _ in range(3))
    rows = []
    trl = middle([one["tokens"] / one["seconds"] for one in found["TRL, defaults"]])
    for name, runs in found.items():
        per_second = [one["tokens"] / one["seconds"] for one in runs]
        rows.append(
            [
                name,
                f"{runs[0]['tokens']:,.0f}",
                f"{middle(per_second):,.0f} ({min(per_second):,.0f}-{max(per_second):,.0f})",
                f"{middle([one['tokens'] / one['clock'] for one in runs]):,.0f}",
                f"{middle(per_second) / trl:.2f}",
                f"{middle(per_second) * 4 * PARAMETERS / 1e9 / peak:.0%}",
                f"{middle([one['peak_mb'] for one in runs]):,.0f} MB",
                f"{middle([one['loss'] for one in runs]):.3f}",
            ]
        )
    head = [
        "LoRA",
        "tokens",
        "tokens a CPU second",
        "by the clock",
        "x TRL's defaults",
        "of the bf16 peak",
        "peak memory",
        "loss after",
    ]
    text = (
        f"{table(head, rows)}\n\nThe loss before is {found['Bakeoff, LoRA'][0]['before']:.3f}. {count} lessons, "
        f"{ROUNDS} rounds; peak of a product of two bf16 matrices: {peak:.0f} GFLOP/s a core. "
        f"`make bench-tuning DATA=... PART=lora` on {machine()}."
    )
    publish("tuning", text)
    print(text)


def profiled(data: Path, count: int, folder: Path) -> None:
    """What our LoRA's time goes into."""
    from results import machine, publish

    eaten = run("Bakeoff, profile", folder, data)
    total = sum(eaten.values())
    shares = ", ".join(f"{kind} {spent / total:.0%}" for kind, spent in eaten.items())
    text = (
        f"Of the time of our LoRA: {shares} (torch's profiler, {PROFILED} lessons). "
        f"`make bench-tuning DATA=... PART=profile` on {machine()}."
    )
    publish("tuning-profile", text)
    print(text)


def freeze_by_epochs(data: Path, count: int, folder: Path) -> None:
    """What a later epoch takes beside the first."""
    from results import machine, publish

    runs = [run("Bakeoff, freeze", folder, data) for _ in range(ROUNDS)]
    first, later = (", ".join(f"{one[key]:.1f}" for one in runs) for key in ("first", "later"))
    times = [one["first"] / one["later"] for one in runs]
    text = (
        f"`freeze` with its last 4 layers, {count} lessons, {ROUNDS} rounds: {first} CPU seconds for the first epoch, "
        f"the frozen layers once for all lessons included, and {later} for each later one: {min(times):.1f} to "
        f"{max(times):.1f} times as fast. `make bench-tuning DATA=... PART=freeze` on {machine()}."
    )
    publish("tuning-freeze", text)
    print(text)


def prepare(data: Path, count: int, folder: Path) -> None:
    """Lessons as JSON, and the packaged model as a folder that TRL can load."""
    from questions import sample, xquad

    from bakeoff.models import weights
    from bakeoff.models.gguf import load_for_training

    (folder / "xquad").mkdir()
    examples = sample(list(xquad(data, folder / "xquad")), count + 40)
    lessons = []
    for example in examples:
        paragraph = (folder / example.evidence[0].document_id).read_text(encoding="utf-8")
        lessons.append({"prompt": f"{paragraph}\n\n{example.question}", "completion": example.references[0]})
    (folder / "train.json").write_text(json.dumps(lessons[:count]))
    (folder / "valid.json").write_text(json.dumps(lessons[count:]))
    base = weights.resolve("smollm2-135m")
    model, tokenizer = load_for_training(base.path)
    model.save_pretrained(folder / "model")
    tokenizer.save(str(folder / "model" / "tokenizer.json"))
    template = weights.template(base)
    facts = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "chat_template": template.source,
        "bos_token": template.bos,
        "eos_token": template.eos,
        "pad_token": "<|endoftext|>",
    }
    (folder / "model" / "tokenizer_config.json").write_text(json.dumps(facts))


def run(name: str, folder: Path, data: Path) -> dict[str, float]:
    """One contestant in a process of its own."""
    python = sys.executable if name.startswith("Bakeoff") else str(PEERS)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "WANDB_DISABLED": "true"}
    command = [python, __file__, "--data", str(data), "--one", name, str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if result.returncode:
        sys.exit(f"{name}: {result.stderr.strip()[-1500:]}")
    found: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    if name in LORAS:
        found |= losses(folder, folder / name)
    return found


def examples_of(folder: Path, part: str) -> list[Any]:
    """The lessons as our examples."""
    from bakeoff.types import Example

    entries = json.loads((folder / f"{part}.json").read_text())
    return [Example(f"{part}{n}", one["prompt"], (one["completion"],)) for n, one in enumerate(entries)]


def losses(folder: Path, adapter: Path) -> dict[str, float]:
    """Mean loss of a trained token on the held-out lessons, before and with the adapter, and the tokens trained on."""
    import torch
    from peft import PeftModel

    from bakeoff.tuning import student
    from bakeoff.tuning.preferences import measured

    pupil = student.load(str(folder / "model"))
    rows = pupil.rows(examples_of(folder, "valid"), 4096)
    trained = sum(row.trained for row in rows)
    before = -sum(measured(student.Whole(pupil.model, bf16=False), rows, 2)) / trained
    adapted = PeftModel.from_pretrained(pupil.model, adapter).merge_and_unload()
    with torch.no_grad():
        after = -sum(measured(student.Whole(adapted, bf16=False), rows, 2)) / trained
    tokens = sum(len(row.ids) for row in pupil.rows(examples_of(folder, "train"), 4096))
    return {"before": before, "loss": after, "tokens": tokens}


def ours(folder: Path) -> dict[str, float]:
    from bakeoff.tuning import training, tune

    seconds: list[float] = []
    clock: list[float] = []
    plain = training.train

    def timed(*arguments: Any, **named: Any) -> Any:
        start, began = time.process_time(), time.perf_counter()
        found = plain(*arguments, **named)
        seconds.append(time.process_time() - start)
        clock.append(time.perf_counter() - began)
        return found

    training.train = timed
    tune("lora", str(folder / "model"), examples_of(folder, "train"), out=folder / "ours", replace=True,
         epochs=1, batch_size=4, learning_rate=1e-3, max_length=4096)  # fmt: skip
    target = folder / "Bakeoff, LoRA"
    if not target.exists():
        (folder / "ours").rename(target)
    return {"seconds": seconds[0], "clock": clock[0], "peak_mb": peak_mb()}


def profile(folder: Path) -> dict[str, float]:
    """Seconds of our training by kind of work; operators that work for others count without those."""
    from torch._C._profiler import _ExperimentalConfig
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as watched

    from bakeoff.tuning import training, tune

    plain, found = training.train, dict.fromkeys([*KINDS, "the rest"], 0.0)

    def timed(*arguments: Any, **named: Any) -> Any:
        every = _ExperimentalConfig(profile_all_threads=True)
        with watched(activities=[ProfilerActivity.CPU], experimental_config=every) as events:
            made = plain(*arguments, **named)
        for event in events.key_averages():
            named_so = (kind for kind, names in KINDS.items() if any(name in event.key for name in names))
            found[next(named_so, "the rest")] += event.self_cpu_time_total / 1e6
        return made

    training.train = timed
    tune("lora", str(folder / "model"), examples_of(folder, "train")[:PROFILED], out=folder / "profiled", replace=True,
         epochs=1, batch_size=4, learning_rate=1e-3, max_length=4096)  # fmt: skip
    return found


def freeze(folder: Path) -> dict[str, float]:
    """CPU seconds of the first epoch, the frozen layers included, and of a later one."""
    from bakeoff.tuning import tune

    marks: list[float] = []
    examples = examples_of(folder, "train")
    from bakeoff.tuning.methods import freeze as method

    plain, began = method._frontier, []

    def timed(*arguments: Any) -> Any:
        began.append(time.process_time())
        return plain(*arguments)

    def progress(*step: Any) -> None:
        marks.append(time.process_time())

    method._frontier = timed
    out = folder / f"freeze-{os.getpid()}"
    options: dict[str, Any] = {"epochs": EPOCHS_OF_FREEZE, "batch_size": 4, "max_length": 4096}
    tune("freeze", str(folder / "model"), examples, out=out, progress=progress, **options)
    steps = len(marks) // EPOCHS_OF_FREEZE
    first = marks[steps - 1] - began[0]
    return {"first": first, "later": (marks[-1] - marks[steps - 1]) / (EPOCHS_OF_FREEZE - 1)}


def trl(checkpointing: bool | None) -> Callable[[Path], dict[str, float]]:
    def train(folder: Path) -> dict[str, float]:
        from datasets import Dataset
        from peft import LoraConfig
        from trl import SFTConfig, SFTTrainer

        entries = json.loads((folder / "train.json").read_text())
        rows = [
            {
                "prompt": [{"role": "user", "content": entry["prompt"]}],
                "completion": [{"role": "assistant", "content": entry["completion"]}],
            }
            for entry in entries
        ]
        more = {} if checkpointing is None else {"gradient_checkpointing": checkpointing}
        settings = SFTConfig(
            output_dir=str(folder / "trl-out"),
            per_device_train_batch_size=4,
            num_train_epochs=1,
            learning_rate=1e-3,
            max_length=4096,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            lr_scheduler_type="cosine",
            warmup_steps=3,
            use_cpu=True,
            **more,
        )
        trainer = SFTTrainer(
            model=str(folder / "model"),
            args=settings,
            train_dataset=Dataset.from_list(rows),
            peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
        )
        start, began = time.process_time(), time.perf_counter()
        trainer.train()
        seconds, clock = time.process_time() - start, time.perf_counter() - began
        memory = peak_mb()
        trainer.save_model(str(folder / ("TRL, defaults" if checkpointing is None else "TRL, no checkpointing")))
        return {"seconds": seconds, "clock": clock, "peak_mb": memory}

    return train


LORAS: dict[str, Callable[[Path], dict[str, float]]] = {
    "Bakeoff, LoRA": ours,
    "TRL, defaults": trl(None),
    "TRL, no checkpointing": trl(False),
}
CONTESTANTS = {**LORAS, "Bakeoff, freeze": freeze, "Bakeoff, profile": profile}
PARTS: dict[str, Callable[[Path, int, Path], None]] = {
    "lora": lora_beside_trl,
    "freeze": freeze_by_epochs,
    "profile": profiled,
}


def middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def gigaflops() -> float:
    """Of one core in bf16 matrix products."""
    import torch

    torch.set_num_threads(1)
    one = torch.ones(2048, 2048, dtype=torch.bfloat16)
    one @ one
    start = time.process_time()
    for _ in range(6):
        one @ one
    return 6 * 2 * 2048**3 / (time.process_time() - start) / 1e9


if __name__ == "__main__":
    main()
