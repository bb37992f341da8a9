"""`bakeoff init`: a folder to start from."""

from __future__ import annotations

import shutil
from importlib.resources import as_file, files
from pathlib import Path

from bakeoff import config
from bakeoff.errors import ConfigError
from bakeoff.files import write_atomically
from bakeoff.project import Progress

DEFAULT_MODELS = ("smollm2-135m", "minilm")

TEMPLATE = """\
# What to compare. Every key is explained in docs/configuration.md; an unknown one is an error.
base = "smollm2-135m"        # a name, a .gguf file, a safetensors folder, a hub id, or http://host/v1#model
seed = 7

[corpus]
sources = [{sources}]

[examples]
path = "questions.jsonl"
test = {test}                   # held out: no system sees them before they are asked
valid = {valid}

[systems.zero-shot]
type = "prompt"

[systems.few-shot]
type = "prompt"
shots = 4

[systems.rag]
type = "rag"
k = {k}

[systems.lora]
type = "prompt"
tuned = "closed-book"

[systems.lora-rag]
type = "rag"
k = {k}
tuned = "reader"

[tune.closed-book]
method = "lora"
lesson = "zero-shot"         # learns to answer what this system shows the model
epochs = {epochs}

[tune.reader]
method = "lora"
lesson = "rag"
epochs = {epochs}

[compare]
metrics = ["recall", "exact", "f1", "support", "retrieval_recall", "ndcg"]
baseline = "zero-shot"
delta = 0.03                 # a cheaper system may be this much worse
"""


def create(folder: Path, *, demo: bool, weights: bool, progress: Progress) -> list[Path]:
    """Write `bakeoff.toml` (with `demo`, documents and questions too) and fetch the default models.

    Raises `ConfigError` rather than write over an existing project.
    """
    if (folder / config.FILE).exists():
        raise ConfigError(f"{folder / config.FILE} exists already; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    created = []
    if demo:
        created += _copy_demo(folder)
        text = TEMPLATE.format(sources='"documents", "sqlite:///shop.db"', test=0.3, valid=0.1, epochs=1, k=2)
    else:
        text = TEMPLATE.format(sources='"documents"', test=0.3, valid=0.1, epochs=2, k=3)
        (folder / "documents").mkdir(exist_ok=True)
        created.append(folder / "documents")
    write_atomically(folder / config.FILE, text)
    if weights:
        from bakeoff.models.weights import resolve

        for number, name in enumerate(DEFAULT_MODELS):
            progress(number, len(DEFAULT_MODELS), f"fetching {name}")
            resolve(name)
    return [*created, folder / config.FILE]


def _copy_demo(folder: Path) -> list[Path]:
    made = []
    with as_file(files("bakeoff") / "demo") as source:
        for name in ("documents", "shop.db", "questions.jsonl"):
            target = folder / name
            if target.exists():
                raise ConfigError(f"{target} exists already; choose another folder")
            if (source / name).is_dir():
                shutil.copytree(source / name, target)
            else:
                shutil.copyfile(source / name, target)
            made.append(target)
    return made
