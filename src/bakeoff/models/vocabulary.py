"""What of a model can be looked at without loading it: tokenizer, size, and single rows of its embedding tables."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bakeoff.errors import MissingPackageError, ModelError
from bakeoff.models.weights import Weights

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Vectors = NDArray[np.float32]

_EMBEDDINGS = (
    "embed_tokens.weight",
    "wte.weight",
    "embed_in.weight",
    "word_embeddings.weight",
    "tok_embeddings.weight",
)
_HEADS = ("lm_head.weight", "embed_out.weight")


@dataclass(frozen=True, slots=True)
class Table:
    """A vector for each token; `vectors(ids)` reads only these rows from the file."""

    rows: int
    vectors: Callable[[Sequence[int]], Vectors]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A model's tokenizer and tables."""

    tokenizer: Tokenizer
    tables: tuple[Table, ...]
    """The embeddings, and the output's table where it is another; none where their names are unknown."""
    parameters: int
    layers: int
    hidden: int
    """Width of the states between layers."""
    pad: str = ""
    """The token that fills up batches, where the files name one."""


def load_vocabulary(weights: Weights) -> Vocabulary:
    """Raises `ModelError` where there is no tokenizer that can be read, and `MissingPackageError` without `tune`."""
    try:
        import tokenizers  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingPackageError(f"counting the tokens of {weights.name}", "tokenizers", "tune") from error
    return _gguf(weights.path) if weights.kind == "gguf" else _safetensors(weights.path)


def _gguf(path: Path) -> Vocabulary:
    from bakeoff.models import gguf as files

    reader = files.open_file(path)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    tables = [_gguf_table(tensors[name]) for name in ("token_embd.weight", "output.weight") if name in tensors]

    def fact(key: str) -> Any:
        return reader.fields[key].contents() if key in reader.fields else None

    architecture, pad = fact("general.architecture"), fact("tokenizer.ggml.padding_token_id")
    return Vocabulary(
        files.read_tokenizer(path, reader),
        tuple(tables),
        sum(int(tensor.n_elements) for tensor in reader.tensors),
        fact(f"{architecture}.block_count"),
        fact(f"{architecture}.embedding_length"),
        "" if pad is None else str(fact("tokenizer.ggml.tokens")[pad]),
    )


def _gguf_table(tensor: Any) -> Table:
    import gguf

    def vectors(ids: Sequence[int]) -> Vectors:
        found: Vectors = gguf.quants.dequantize(tensor.data[list(ids)], tensor.tensor_type)
        return found

    return Table(int(tensor.shape[1]), vectors)


def _safetensors(path: Path) -> Vocabulary:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except Exception as error:  # tokenizers raises plain exceptions
        raise ModelError(f"{path}: {error}; it needs config.json and tokenizer.json of a causal model") from error
    facts_path = path / "tokenizer_config.json"
    facts = json.loads(facts_path.read_text(encoding="utf-8")) if facts_path.is_file() else {}
    pad = facts.get("pad_token") or ""
    tables, parameters = [], 0
    for file in sorted(path.glob("*.safetensors")):
        header, start = _header(file)
        for name, tensor in header.items():
            parameters += math.prod(tensor["shape"])
            if name.endswith((*_EMBEDDINGS, *_HEADS)) and tensor["dtype"] in _READ:
                tables.append((name.endswith(_HEADS), _safetensors_table(file, start, tensor)))
    return Vocabulary(
        tokenizer,
        tuple(table for _, table in sorted(tables, key=lambda entry: entry[0])),
        parameters,
        int(config.get("num_hidden_layers") or config.get("n_layer") or 0),
        int(config.get("hidden_size") or config.get("n_embd") or 0),
        str(pad["content"]) if isinstance(pad, dict) else str(pad),
    )


_READ: dict[str, tuple[str, Callable[[NDArray[Any]], Vectors]]] = {
    "F32": ("<f4", lambda rows: np.asarray(rows, dtype=np.float32)),
    "F16": ("<f2", lambda rows: np.asarray(rows, dtype=np.float32)),
    # numpy has no bfloat16: it is the upper half of a float.
    "BF16": ("<u2", lambda rows: (rows.astype(np.uint32) << 16).view(np.float32)),
}


def _safetensors_table(file: Path, start: int, tensor: dict[str, Any]) -> Table:
    stored, floats = _READ[tensor["dtype"]]
    rows, width = tensor["shape"]
    table = np.memmap(file, stored, "r", offset=start + tensor["data_offsets"][0], shape=(rows, width))
    return Table(rows, lambda ids: floats(np.asarray(table[list(ids)])))


def _header(file: Path) -> tuple[dict[str, Any], int]:
    """The tensors of a safetensors file, and where their bytes start."""
    try:
        with file.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(size))
    except ValueError as error:
        raise ModelError(f"{file} is not a readable safetensors file ({error}); fetch it again") from error
    header.pop("__metadata__", None)
    return header, 8 + size
