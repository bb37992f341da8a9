"""`bakeoff init`: a folder to start from."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path

from bakeoff import config
from bakeoff.errors import ConfigError, UnknownNameError
from bakeoff.files import write_atomically
from bakeoff.trained import Progress

TEMPLATES = {
    "assistant": "a plain base goes up the ladder: examples, then preferences",
    "content": "summaries of articles on a topic, each sentence with its source",
    "customer-support": "short answers from help pages, and none where they do not say",
    "education": "questions on course notes, beside what a model knows by itself",
    "intent": "which of six things a message is about: prompts against a classifier",
    "legal": "single clauses of contracts that resemble each other, with the clause",
    "medical": "figures of studies, with the study, and silence on what none measured",
    "translation": "house terms from a glossary and earlier translations",
}
"""Name -> what it shows; each is a folder in `bakeoff/templates`."""
DEFAULT_MODELS = ("smollm2-135m", "minilm-int8")

PLAIN = """\
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


def create(folder: Path, *, demo: bool, weights: bool, progress: Progress, template: str = "") -> list[Path]:
    """Write `bakeoff.toml` (with `demo` or a `template`, documents and questions too) and fetch the default models.

    Raises `ConfigError` rather than write over an existing project, and `UnknownNameError` for a template.
    """
    if template and demo:
        raise ConfigError("--demo and --template are two projects; choose one, or make two folders")
    if template and template not in TEMPLATES:
        raise UnknownNameError("template", template, TEMPLATES)
    if (folder / config.FILE).exists():
        raise ConfigError(f"{folder / config.FILE} exists already; choose another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make the folder {folder}: {error.strerror}; choose another") from error
    created = []
    if template:
        # The configuration comes last: with it, the folder is a project.
        created += _copy(f"templates/{template}", folder)
    elif demo:
        created += _copy("demo", folder, ("documents", "shop.db", "questions.jsonl"))
        text = PLAIN.format(sources='"documents", "sqlite:///shop.db"', test=0.3, valid=0.1, epochs=1, k=2)
        write_atomically(folder / config.FILE, text)
    else:
        (folder / "documents").mkdir(exist_ok=True)
        created.append(folder / "documents")
        text = PLAIN.format(sources='"documents"', test=0.3, valid=0.1, epochs=2, k=3)
        write_atomically(folder / config.FILE, text)
    if weights:
        from bakeoff.models.weights import resolve

        for number, name in enumerate(DEFAULT_MODELS):
            progress(number, len(DEFAULT_MODELS), f"fetching {name}")
            resolve(name)
    return [*created, *([] if template else [folder / config.FILE])]


def _copy(part: str, folder: Path, names: Sequence[str] = ()) -> list[Path]:
    """Copy `names`, by default all, from a folder of the package; raises `ConfigError` where one is there already."""
    with as_file(files("bakeoff") / part) as source:
        chosen = names or sorted((path.name for path in source.iterdir()), key=lambda name: (name == config.FILE, name))
        for name in chosen:
            if (folder / name).exists():
                raise ConfigError(f"{folder / name} exists already; choose another folder")
        for name in chosen:
            copy = shutil.copytree if (source / name).is_dir() else shutil.copyfile
            copy(source / name, folder / name)
    return [folder / name for name in chosen]
