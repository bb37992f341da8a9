"""Write a BERT sentence embedder as GGUF, so that llama.cpp runs it beside the generator.

Q8_0 weights: vectors keep a cosine of .9995 or more to fp32 and come 1.4 times as fast (docs/log.md).
Source of the tensor names: llama.cpp, `gguf-py/gguf/tensor_mapping.py`.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

_EMBEDDINGS = {
    "word_embeddings": "token_embd",
    "position_embeddings": "position_embd",
    "token_type_embeddings": "token_types",
    "LayerNorm": "token_embd_norm",
}
_LAYER = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}


def to_gguf(folder: Path, target: Path, encoding: str = "Q8_0") -> None:
    """`folder` holds config.json, vocab.txt and model.safetensors; mean pooling is written into `target`.

    `encoding` is that of the matrices: Q8_0, F16 or F32.
    """
    kind = gguf.GGMLQuantizationType[encoding]
    config = json.loads((folder / "config.json").read_text())
    writer = gguf.GGUFWriter(target, "bert")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    _add_vocabulary(writer, (folder / "vocab.txt").read_text().split("\n")[: config["vocab_size"]])
    for name, tensor in read_safetensors(folder / "model.safetensors").items():
        ours = _tensor_name(name)
        if ours is None:
            continue
        if tensor.ndim == 2 and ours not in ("position_embd.weight", "token_types.weight"):
            writer.add_tensor(ours, gguf.quants.quantize(tensor, kind), raw_dtype=kind)
        else:
            writer.add_tensor(ours, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read_safetensors(path: Path) -> dict[str, NDArray[np.float32]]:
    """The fp32 tensors of a safetensors file: an 8-byte length, a JSON header, then raw bytes."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    body = memoryview(data)[8 + length :]
    return {
        name: np.frombuffer(body[slice(*entry["data_offsets"])], dtype=np.float32).reshape(entry["shape"])
        for name, entry in header.items()
        if name != "__metadata__" and entry["dtype"] == "F32"
    }


def _add_vocabulary(writer: gguf.GGUFWriter, vocabulary: list[str]) -> None:
    # llama.cpp marks the start of a word where WordPiece marks its continuation.
    tokens, kinds = [], []
    for token in vocabulary:
        special = token.startswith("[") and token.endswith("]")
        tokens.append(
            token if special else token[2:] if token.startswith("##") else "\N{LOWER ONE EIGHTH BLOCK}" + token
        )
        kinds.append(gguf.TokenType.CONTROL if special else gguf.TokenType.NORMAL)
    writer.add_tokenizer_model("bert")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_type_count(2)
    writer.add_bos_token_id(vocabulary.index("[CLS]"))
    writer.add_sep_token_id(vocabulary.index("[SEP]"))
    writer.add_unk_token_id(vocabulary.index("[UNK]"))
    writer.add_pad_token_id(vocabulary.index("[PAD]"))
    writer.add_mask_token_id(vocabulary.index("[MASK]"))


def _tensor_name(name: str) -> str | None:
    name = name.removeprefix("bert.")
    stem, _, leaf = name.rpartition(".")
    if stem.startswith("embeddings.") and stem.removeprefix("embeddings.") in _EMBEDDINGS:
        return f"{_EMBEDDINGS[stem.removeprefix('embeddings.')]}.{leaf}"
    if stem.startswith("encoder.layer."):
        number, _, part = stem.removeprefix("encoder.layer.").partition(".")
        return f"blk.{number}.{_LAYER[part]}.{leaf}"
    return None
