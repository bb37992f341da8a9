"""A checkpoint as files that stand by themselves: merged into its base, or a head as ONNX.

What is written here is not yet proven: `evaluation.exporting` asks it the same questions, and only then it is moved to
where it was wanted.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Literal, get_args

from bakeoff.errors import ConfigError, ModelError, UnknownNameError
from bakeoff.files import sync_folder, write_json
from bakeoff.models import weights as files
from bakeoff.tuning.run import hash_of, load_checkpoint

Form = Literal["gguf", "onnx", "safetensors"]
Encoding = Literal["own", "q8_0", "f16", "f32"]
MANIFEST = "export.json"

_PREFIXES = ("prefix", "soft_prompt", "p_tuning")


def form_of(target: Path, wanted: str) -> Form:
    """What `target` is to be, by `wanted` or else by its suffix; raises `ConfigError` where both contradict."""
    suffix = {".gguf": "gguf", ".onnx": "onnx"}.get(target.suffix, "safetensors")
    if wanted and wanted not in get_args(Form):
        raise UnknownNameError("form to export to", wanted, get_args(Form))
    if wanted and wanted != suffix:
        ends = "a folder" if wanted == "safetensors" else f"a file that ends in .{wanted}"
        raise ConfigError(f"--to {wanted} writes {ends}, and {target} is none; name another target, or leave --to out")
    return suffix  # type: ignore[return-value]


def check(checkpoint: Path, target: Path, form: Form, encoding: str) -> None:
    """Raises `ConfigError` or `ModelError` where this checkpoint cannot become that, before anything is loaded."""
    if target.exists():
        raise ConfigError(f"{target} is there already, and an export never replaces anything; name another target")
    if encoding not in get_args(Encoding):
        raise UnknownNameError("encoding", encoding, get_args(Encoding))
    method, base = load_checkpoint(checkpoint).method, _base_of(checkpoint)
    if method in _PREFIXES:
        raise ModelError(
            f"{checkpoint} holds keys and values that go before every prompt, not weights, so there is nothing to "
            "merge: Bakeoff serves it through torch as it is; tune a lora for other engines"
        )
    if (checkpoint / "bottleneck.safetensors").is_file():
        raise ModelError(
            f"{checkpoint} holds layers that no other engine knows, so it is not exported: Bakeoff serves it through "
            'torch as it is; tune a lora, or an adapter with kind = "ia3", for other engines'
        )
    if (method == "head") != (form == "onnx"):
        raise ModelError(_other_form(checkpoint, method))
    if form == "gguf" and base.kind != "gguf":
        raise ModelError(
            f"{checkpoint} stands on {base.name}, which is not GGUF, and only llama.cpp's own converter knows how to "
            "write that architecture as GGUF; use --to safetensors, and give the folder to convert_hf_to_gguf.py"
        )
    if form == "safetensors" and encoding == "q8_0":
        raise ConfigError("--encoding q8_0 is one of GGUF files; use f16 or f32 for safetensors")


def write(checkpoint: Path, form: Form, encoding: str, target: Path) -> None:
    """Write the model in `checkpoint` as a whole to `target`, a file or a folder that is not there yet.

    `encoding`: `own` is each matrix's encoding in the base where it can be written, else Q8_0; fp32 in safetensors.
    """
    if form == "onnx":
        from bakeoff.models.head_graph import to_onnx

        to_onnx(checkpoint, target)
        return
    from bakeoff.models.additions import add
    from bakeoff.models.gguf import load_for_training, write_model

    weights = files.resolve(str(checkpoint))
    model, tokenizer = load_for_training(weights.path)
    if weights.adapter:
        model, _ = add(model, weights.adapter)
    base = _base_of(checkpoint)
    if form == "gguf":
        write_model(base.path, model.state_dict(), target, encoding=encoding.upper(), template=base.written)
        return
    import torch
    from transformers.utils import logging

    quiet: Any = logging
    quiet.disable_progress_bar()
    target.mkdir()
    (model.half() if encoding == "f16" else model.to(torch.float32)).save_pretrained(target)
    if base.kind == "safetensors":
        for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            if (base.path / name).is_file():
                shutil.copyfile(base.path / name, target / name)
        if base.written:
            (target / "chat_template.jinja").write_text(base.written, encoding="utf-8")
        return
    template = files.template(base)
    tokenizer.save(str(target / "tokenizer.json"))
    facts = {"bos_token": template.bos, "eos_token": template.eos, "chat_template": template.source}
    facts = {key: value for key, value in facts.items() if value}
    write_json(target / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", **facts})


def move(scratch: Path, target: Path, checkpoint: Path, facts: dict[str, object]) -> Path:
    """Put the proven export where it was wanted, never over anything, with its manifest; returns the manifest.

    The manifest of a folder is in it, that of a file beside it, and written before it: what is there has one.
    """
    source = json.loads((checkpoint / "checkpoint.json").read_text())
    inside = sorted(scratch.iterdir()) if scratch.is_dir() else [scratch]
    named = {path.name if scratch.is_dir() else target.name: hash_of(path) for path in inside}
    kept = ("method", "base", "base_fingerprint", "files", "versions")
    manifest = {**facts, "checkpoint": {key: source[key] for key in kept}, "files": named}
    if scratch.is_dir():
        write_json(scratch / MANIFEST, manifest)
        place = target / MANIFEST
        scratch.rename(target)
    else:
        place = target.with_name(f"{target.name}.json")
        write_json(place, manifest)
        target.hardlink_to(scratch)  # unlike a rename, it fails where something has come to stand there meanwhile
        scratch.unlink()
    sync_folder(target.parent)
    return place


def _base_of(checkpoint: Path) -> files.Weights:
    return files.resolve(json.loads((checkpoint / "checkpoint.json").read_text())["base"])


def _other_form(checkpoint: Path, method: str) -> str:
    if method == "head":
        return f"{checkpoint} is a head, and its head.json is all there is of it; use --to onnx for other engines"
    return (
        f"{checkpoint} generates text, and generators are not exported to ONNX, for which torch needs the packages "
        "onnx and onnxscript; use --to gguf or --to safetensors"
    )
