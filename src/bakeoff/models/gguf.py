"""GGUF files for training: read one as a torch model, write one faster to serve, write a LoRA beside one.

A LoRA is trained on the de-quantised weights of the very file that is served, so it also learns to make up for
the quantisation. GGUF interleaves the rotary halves of each head in the rows of the query and key projections,
where transformers puts one after the other; `_to_gguf_rows` and `_to_torch_rows` convert (source: llama.cpp,
`conversion/llama.py`, `LlamaModel.permute`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np
from numpy.typing import NDArray

from bakeoff.errors import ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Rows = NDArray[np.float32]
WRITTEN = ("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0")
"""Encodings of a matrix that gguf can write; of the others it reads what only llama.cpp writes."""


def reencode(source: Path, target: Path, kind: str = "Q8_0") -> None:
    """Copy a GGUF file with its matrices as `kind` and everything else as F32; metadata and tokenizer stay."""
    reader = open_file(source)
    with _writing(target, field_value(reader, "general.architecture")) as writer:
        _copy_fields(reader, writer)
        for tensor in reader.tensors:
            matrix = len(tensor.shape) == 2
            encoding = gguf.GGMLQuantizationType[kind if matrix else "F32"]
            writer.add_tensor(tensor.name, gguf.quants.quantize(floats(tensor), encoding), raw_dtype=encoding)


def write_model(
    base: Path, state: Mapping[str, Any], target: Path, *, encoding: str = "F16", template: str = ""
) -> None:
    """Write the torch weights `state` as GGUF beside the metadata and the tokenizer of `base`.

    What is as it was keeps its encoding. Matrices that changed are F16, since eight bits would round away what a
    gentle training did, or as `encoding` says: `OWN` is that of the base's matrix where it can be written, else Q8_0.
    `template`: a chat template in place of the base's.
    """
    reader = open_file(base)
    names = _names(reader)
    held = {f"{names(key.removesuffix('.weight'))}.weight": value for key, value in state.items()}
    with _writing(target, field_value(reader, "general.architecture")) as writer:
        _copy_fields(reader, writer, template)
        for tensor in reader.tensors:
            before = floats(tensor)
            rows = held.get(tensor.name)
            after = before if rows is None else _to_gguf_rows(tensor.name, rows.float().cpu().numpy(), reader)
            if np.array_equal(before, after):
                writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
            else:
                kind = _kind(tensor, encoding) if len(tensor.shape) == 2 else gguf.GGMLQuantizationType.F32
                rows = np.ascontiguousarray(after, dtype=np.float32)
                writer.add_tensor(tensor.name, gguf.quants.quantize(rows, kind), raw_dtype=kind)


def load_for_training(path: Path) -> tuple[Any, Tokenizer]:
    """The fp32 torch model and the tokenizer of a GGUF file or a safetensors folder; local files only.

    Raises `ModelError` for GGUF files of other architectures or tokenizers than those checked against llama.cpp.
    """
    if path.is_file():
        reader = open_file(path)
        return _model(path, reader), read_tokenizer(path, reader)
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    quiet: Any = logging
    quiet.disable_progress_bar()

    try:
        model = AutoModelForCausalLM.from_pretrained(
            path, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
        )
        return model, Tokenizer.from_file(str(path / "tokenizer.json"))
    except Exception as error:  # transformers and tokenizers raise whatever they meet
        reason = str(error).strip().splitlines()[0]
        raise ModelError(
            f"cannot load {path}: {reason}; it needs config.json, *.safetensors and tokenizer.json of a causal model"
        ) from error


def write_lora(adapter: Path, base: Path, out: Path) -> None:
    """Convert the PEFT LoRA in folder `adapter` into a GGUF adapter for the GGUF file `base`."""
    from safetensors.numpy import load_file

    config = json.loads((adapter / "adapter_config.json").read_text())
    reader = open_file(base)
    names = _names(reader)
    # llama.cpp scales by alpha / rank; rank-stabilised adapters are scaled by alpha / sqrt(rank).
    alpha = config["lora_alpha"] * (config["r"] ** 0.5 if config["use_rslora"] else 1)
    with _writing(out, field_value(reader, "general.architecture")) as writer:
        writer.add_type("adapter")
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", float(alpha))
        for key, tensor in sorted(load_file(adapter / "adapter_model.safetensors").items()):
            module, _, factor = key.removeprefix("base_model.model.").removesuffix(".weight").rpartition(".")
            name = f"{names(module)}.weight"
            # B's rows are the rows of the base matrix; A's columns are its columns, which are never moved.
            rows = tensor if factor == "lora_A" else _to_gguf_rows(name, tensor, reader)
            writer.add_tensor(f"{name}.{factor.lower()}", np.ascontiguousarray(rows, dtype=np.float32))


# ---------------------------------------------------------------- model


def _model(path: Path, reader: gguf.GGUFReader) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    architecture = field_value(reader, "general.architecture")
    if architecture != "llama":
        raise ModelError(
            f"{path} has the architecture {architecture!r}, and training from GGUF is checked for 'llama' only; "
            "name the model's safetensors folder instead"
        )
    tensors = {tensor.name: tensor for tensor in reader.tensors}

    def fact(key: str) -> Any:
        return field_value(reader, f"llama.{key}")

    config = LlamaConfig(
        vocab_size=int(tensors["token_embd.weight"].shape[1]),
        hidden_size=fact("embedding_length"),
        intermediate_size=fact("feed_forward_length"),
        num_hidden_layers=fact("block_count"),
        num_attention_heads=fact("attention.head_count"),
        num_key_value_heads=fact("attention.head_count_kv"),
        max_position_embeddings=fact("context_length"),
        rms_norm_eps=fact("attention.layer_norm_rms_epsilon"),
        rope_parameters={"rope_type": "default", "rope_theta": fact("rope.freq_base")},
        tie_word_embeddings="output.weight" not in tensors,
        bos_token_id=field_value(reader, "tokenizer.ggml.bos_token_id"),
        eos_token_id=field_value(reader, "tokenizer.ggml.eos_token_id"),
        pad_token_id=None,
        dtype="float32",
    )
    with torch.device("meta"):  # random weights of this size would take 4 s to draw
        model: Any = LlamaForCausalLM(config)
    names, weights = _names(reader), {}
    for key, parameter in model.named_parameters():
        name = f"{names(key.removesuffix('.weight'))}.weight"
        rows = _to_torch_rows(name, floats(tensors[name]), reader)
        weights[key] = torch.from_numpy(rows.copy()).reshape(parameter.shape)
    model.load_state_dict(weights, strict=not config.tie_word_embeddings, assign=True)
    model.model.rotary_emb = LlamaRotaryEmbedding(config)
    model.tie_weights()
    return model.eval()


def _names(reader: gguf.GGUFReader) -> Callable[[str], str]:
    """Name of a module in transformers -> name of its tensor in the file, without `.weight`."""
    architecture = {name: number for number, name in gguf.MODEL_ARCH_NAMES.items()}[
        field_value(reader, "general.architecture")
    ]
    known = gguf.get_tensor_name_map(architecture, field_value(reader, "llama.block_count"))

    def name(module: str) -> str:
        found = known.get_name(module)
        if found is None:
            raise ModelError(f"GGUF has no place for {module!r}; leave it out of targets")
        return str(found)

    return name


def _to_gguf_rows(name: str, rows: Rows, reader: gguf.GGUFReader) -> Rows:
    heads = _rotary_heads(name, reader)
    return rows.reshape(heads, 2, -1, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape) if heads else rows


def _to_torch_rows(name: str, rows: Rows, reader: gguf.GGUFReader) -> Rows:
    heads = _rotary_heads(name, reader)
    return rows.reshape(heads, -1, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape) if heads else rows


def _rotary_heads(name: str, reader: gguf.GGUFReader) -> int:
    """Heads whose rows the file interleaves; 0 for all other tensors."""
    if name.endswith("attn_q.weight"):
        return int(field_value(reader, "llama.attention.head_count"))
    if name.endswith("attn_k.weight"):
        return int(field_value(reader, "llama.attention.head_count_kv"))
    return 0


# ---------------------------------------------------------------- tokenizer


def read_tokenizer(path: Path, reader: gguf.GGUFReader) -> Tokenizer:
    """Byte-level BPE from the file's own vocabulary.

    transformers' reader of GGUF tokenizers ignores `tokenizer.ggml.pre` and so joins the digits that SmolLM2 was
    trained to see one by one.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    kind = field_value(reader, "tokenizer.ggml.pre", "default")
    words = pre_tokenizers.ByteLevel(add_prefix_space=False)
    splits = {
        "smollm": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), words]),
        "gpt-2": words,
    }
    begins = field_value(reader, "tokenizer.ggml.add_bos_token", False)
    if field_value(reader, "tokenizer.ggml.model") != "gpt2" or kind not in splits or begins:
        raise ModelError(
            f"{path} has the tokenizer {kind!r}, and training from GGUF is checked for {', '.join(splits)} only; "
            "name the model's safetensors folder instead"
        )
    tokens: list[str] = field_value(reader, "tokenizer.ggml.tokens")
    merges = [tuple(merge.split(" ")) for merge in field_value(reader, "tokenizer.ggml.merges")]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = splits[kind]
    tokenizer.decoder = decoders.ByteLevel()
    types = field_value(reader, "tokenizer.ggml.token_type")
    control = [token for token, type in zip(tokens, types, strict=True) if type == gguf.TokenType.CONTROL]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    return tokenizer


# ---------------------------------------------------------------- files


def open_file(path: Path) -> gguf.GGUFReader:
    """The file, mapped into memory; raises `ModelError` where it is damaged."""
    try:
        return gguf.GGUFReader(path)
    except Exception as error:  # the reader raises whatever numpy raises on a torn file
        raise ModelError(f"{path} is not a readable GGUF file ({error}); fetch it again") from error


def field_value(reader: gguf.GGUFReader, key: str, default: Any = None) -> Any:
    return reader.fields[key].contents() if key in reader.fields else default


def _copy_fields(reader: gguf.GGUFReader, writer: gguf.GGUFWriter, template: str = "") -> None:
    """Metadata and tokenizer."""
    if template:
        writer.add_chat_template(template)
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key in ("general.architecture", "general.file_type"):
            continue
        if template and key == "tokenizer.chat_template":
            continue
        if field.types[0] == gguf.GGUFValueType.ARRAY:
            writer.add_array(key, field.contents())
        else:
            writer.add_key_value(key, field.contents(), field.types[0])


def _kind(tensor: gguf.ReaderTensor, encoding: str) -> gguf.GGMLQuantizationType:
    kind = tensor.tensor_type if encoding == "OWN" else gguf.GGMLQuantizationType[encoding]
    if kind.name not in WRITTEN:
        kind = gguf.GGMLQuantizationType.Q8_0
    fits = tensor.shape[0] % gguf.GGML_QUANT_SIZES[kind][0] == 0
    return kind if fits else gguf.GGMLQuantizationType.F16


def floats(tensor: gguf.ReaderTensor) -> Rows:
    values: Rows = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
    return values


@contextmanager
def _writing(target: Path, architecture: str) -> Iterator[gguf.GGUFWriter]:
    """A writer beside `target`, renamed over it when the body is done."""
    temporary = target.with_name(f".{target.name}.tmp")
    writer = gguf.GGUFWriter(temporary, architecture)
    try:
        yield writer
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
