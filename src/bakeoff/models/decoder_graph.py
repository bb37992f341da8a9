"""Write a Llama of a GGUF file as an ONNX graph whose matrix products are of whole numbers.

Matrices get one scale a row and eight bits, and so does what they are multiplied by, one scale a token. That would
lose much to the few coordinates that are far larger than the others, so everything is turned first: the stream
between the layers by one rotation, the values of a head by a second, and what goes into `ffn_down` by a third, the only
one that costs anything when the model runs. Rotations that meet cancel, and the model is the same one
(QuaRot, arXiv:2404.00456). Sums of whole numbers are exact, so a token's states depend neither on the number of threads
nor on what is computed beside it. Source of the fused operators: ONNX Runtime, docs/ContribOperators.md.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from bakeoff.errors import ModelError
from bakeoff.models.gguf import Rows, field_value, floats, open_file, read_tokenizer
from bakeoff.models.graph import Graph, Port

EDITION = 3
"""Raised when the same file makes another graph."""
GROUPS = {
    "qkv": ("attn_q", "attn_k", "attn_v"),
    "out": ("attn_output",),
    "wide": ("ffn_gate", "ffn_up"),
    "down": ("ffn_down",),
}
"""Matrices of a layer that read the same states, and are one product."""
MOST_WEIGHTS = 1 << 29
"""A larger model waits for memory, whoever runs it."""
_TENSORS = {
    "token_embd",
    "output",
    "output_norm",
    "attn_norm",
    "ffn_norm",
    *(n for names in GROUPS.values() for n in names),
}
_FUSED = "com.microsoft"
_LEVELS = 127
_MIXED = 64
"""Neighbours that the rotation before `ffn_down` mixes, at most; 512 are no better (docs/log.md)."""
_NORMS = {
    "attn_q": "attn_norm",
    "attn_k": "attn_norm",
    "attn_v": "attn_norm",
    "ffn_gate": "ffn_norm",
    "ffn_up": "ffn_norm",
}


def suits(facts: Mapping[str, Any]) -> bool:
    """Whether this module knows the model; `facts` as `weights.gguf_facts` tells them.

    Matrices of more than eight bits are left as they are: what a gentle training did to them could be rounded away.
    """
    heads, stream = facts["heads"] or 0, facts["dimension"] or 0
    return (
        facts["architecture"] == "llama"
        and not facts["scaled"]
        and facts["weights"] <= MOST_WEIGHTS
        and heads > 0
        and stream % (16 * heads) == 0  # GroupQueryAttention takes heads of whole sixteens
        and facts["keys"] in (None, stream // heads)
        and facts["eos"] in facts["specials"]
        and not facts["additions"]
        and facts["tokenizer"] == "gpt2"
        and facts["pre"] in ("smollm", "gpt-2")
        and not facts["begins"]
        and set(facts["tensors"]) <= _TENSORS
        and not {"F32", "F16", "BF16"} & set(facts["matrices"])
    )


class Turned:
    """The rotations of one model, and what they make of its matrices and of the low-rank additions to them."""

    def __init__(self, sizes: Mapping[str, int], gains: Mapping[str, Rows]) -> None:
        """`gains`: name of a norm -> its factors, which go into the matrices that read it."""
        self.sizes = sizes
        self.gains = gains
        self.stream = _rotation(sizes["stream"], 0)
        self._values = _rotation(sizes["head"], 1)
        self.mixed = next(size for size in (_MIXED, 32, 16, 8, 4, 2, 1) if sizes["wide"] % size == 0)
        self.mixing = _rotation(self.mixed, 2)

    def columns(self, name: str, rows: Rows) -> Rows:
        """The columns of a matrix, shape [N, K], for what it reads in the graph."""
        layer, _, kind = name.rpartition(".")
        if kind == "attn_output":
            return _blocks(rows, self._values)
        if kind == "ffn_down":
            return _blocks(rows, self.mixing)
        norm = f"{layer}.{_NORMS[kind]}" if layer else "output_norm"
        return _product(rows * self.gains[norm], self.stream)

    def rows(self, name: str, rows: Rows) -> Rows:
        """The rows of a matrix, shape [N, K], for what it writes in the graph."""
        kind = name.rpartition(".")[2]
        if kind == "attn_v":
            return np.ascontiguousarray(_blocks(rows.T, self._values).T)
        if kind in ("attn_output", "ffn_down"):
            return _product(self.stream.T, rows)
        return rows

    def addition(self, adapter: Path | None) -> dict[str, Rows]:
        """Factors by the names of the graph's inputs, shapes [K, rank] and [rank, N]: of a GGUF LoRA, or of nothing."""
        reader = open_file(adapter) if adapter else None
        held = {tensor.name: floats(tensor) for tensor in reader.tensors} if reader else {}
        alpha = field_value(reader, "adapter.lora.alpha") if reader else 0.0
        widths, found = self._widths(), dict[str, Rows]()
        for layer in range(self.sizes["layers"]):
            for group, kinds in GROUPS.items():
                downs, ups = [], []
                for kind in kinds:
                    name, reads = f"blk.{layer}.{kind}", self.sizes["wide" if kind == "ffn_down" else "stream"]
                    down = held.pop(f"{name}.weight.lora_a", np.zeros((0, reads), dtype=np.float32))
                    up = held.pop(f"{name}.weight.lora_b", np.zeros((widths[kind], 0), dtype=np.float32))
                    downs.append(self.columns(name, down))
                    ups.append(self.rows(name, up) * (alpha / max(1, len(down))))
                found |= _packed(f"{layer}.{group}", downs, ups)
        if held:
            raise ModelError(
                f"{adapter} adds to {', '.join(sorted(held))}, which nothing here serves; tune without these targets"
            )
        return found

    def _widths(self) -> dict[str, int]:
        keys, stream, wide = self.sizes["kv_heads"] * self.sizes["head"], self.sizes["stream"], self.sizes["wide"]
        return {"attn_q": stream, "attn_k": keys, "attn_v": keys, "attn_output": stream} | {
            "ffn_gate": wide,
            "ffn_up": wide,
            "ffn_down": stream,
        }


def to_onnx(source: Path, *, adapted: bool) -> bytes:
    """The graph of the model in the GGUF file `source`; with `adapted`, its matrices also take low-rank additions.

    Inputs: `ids` int64 [B, T], `last` int32 [B], the place of each sequence's last token, and `total` int32 [1], the
    places in use; `k<layer>` and `v<layer>` float32 [B, kv heads, P, head], which `nk<layer>` and `nv<layer>` may
    overwrite; where `adapted`, `<layer>.<group>.a` float32 [K, rank] and `.b` [rank, N]. Output `logits` float32
    [B, 1, vocabulary], after the last token. The metadata hold what `read_facts` tells.
    """
    reader = open_file(source)
    return _Llama(reader, adapted).whole(read_tokenizer(source, reader).to_str())


class _Llama(Graph):
    """The model, walked through once."""

    def __init__(self, reader: gguf.GGUFReader, adapted: bool) -> None:
        super().__init__("llama")

        def fact(key: str) -> Any:
            return field_value(reader, f"llama.{key}")

        heads, stream = fact("attention.head_count"), fact("embedding_length")
        self._tensors = {tensor.name.removesuffix(".weight"): tensor for tensor in reader.tensors}
        self.sizes = {
            "layers": fact("block_count"),
            "heads": heads,
            "kv_heads": fact("attention.head_count_kv") or heads,
            "stream": stream,
            "head": stream // heads,
            "wide": fact("feed_forward_length"),
            "vocabulary": len(self._tensors["token_embd"].data),
        }
        self._gains = {name: floats(t).reshape(-1) for name, t in self._tensors.items() if name.endswith("_norm")}
        self._turned = Turned(self.sizes, self._gains)
        self._epsilon = float(fact("attention.layer_norm_rms_epsilon"))
        self._window = int(fact("context_length"))
        self._base = float(fact("rope.freq_base") or 10000)
        kinds = field_value(reader, "tokenizer.ggml.token_type")
        self._controls = [number for number, kind in enumerate(kinds) if kind == gguf.TokenType.CONTROL]
        self._adapted = adapted
        self._inputs = [Port("ids", "int64", ("B", "T")), Port("last", "int32", ("B",)), Port("total", "int32", (1,))]
        self._outputs = [Port("logits", "float32", ("B", 1, self.sizes["vocabulary"]))]

    def whole(self, tokenizer: str) -> bytes:
        self._walk()
        gains = np.concatenate([self._gains[name] for name in sorted(self._gains)]).astype("<f4")
        facts = {
            "sizes": json.dumps(self.sizes),
            "norms": json.dumps(sorted(self._gains)),
            "gains": base64.b64encode(gains.tobytes()).decode(),
            "controls": json.dumps(self._controls),
            "tokenizer": tokenizer,
        }
        return self.model(self._inputs, self._outputs, {"": 18, _FUSED: 1}, facts)

    def _walk(self) -> None:
        sizes = self.sizes
        # The last layer's own states are needed after the last token alone.
        last = [self.constant(np.array([one])) for one in (-1, 1 << 31, 1)]
        self._mixing, self._ones = self.constant(self._turned.mixing), self.constant(np.ones(sizes["stream"]))
        self._step, self._middle = self.constant(np.float32(1 / _LEVELS)), self.constant(np.uint8(128))
        self._least, self._axis = self.constant(np.float32(1e-20)), self.constant(np.array([-1]))
        angles = np.outer(np.arange(self._window), self._base ** (-np.arange(0, sizes["head"], 2) / sizes["head"]))
        turns = [self.constant(np.cos(angles)), self.constant(np.sin(angles))]
        table = _product(floats(self._tensors["token_embd"]), self._turned.stream)
        words = self.node("Gather", [self.constant(table.astype(np.float16)), "ids"])
        stream = self.node("Cast", [words], to=1)
        normed = self.node("SimplifiedLayerNormalization", [stream, self._ones], axis=-1, epsilon=self._epsilon)
        for layer in range(sizes["layers"]):
            held = [f"{part}{layer}" for part in "kv"]
            self._inputs += [Port(one, "float32", ("B", sizes["kv_heads"], "P", sizes["head"])) for one in held]
            self._outputs += [Port(f"n{one}", "float32", ("B", sizes["kv_heads"], "Q", sizes["head"])) for one in held]
            mixed, *_ = self.node(
                "GroupQueryAttention",
                [self._product(layer, "qkv", normed), "", "", *held, "last", "total", *turns],
                domain=_FUSED,
                outputs=[f"mixed{layer}", *(f"n{one}" for one in held)],
                num_heads=sizes["heads"],
                kv_num_heads=sizes["kv_heads"],
                do_rotary=1,
                rotary_interleaved=1,  # GGUF keeps the halves of a rotary pair side by side
            )
            if layer == sizes["layers"] - 1:
                mixed, stream = (self.node("Slice", [one, last[0], last[1], last[2]]) for one in (mixed, stream))
            normed, stream = self._normed(self._product(layer, "out", mixed), stream)
            gate, up = self.node("Split", [self._product(layer, "wide", normed)], outputs=2, axis=2, num_outputs=2)
            gate = self.node("QuickGelu", [gate], domain=_FUSED, alpha=1.0)  # which is SiLU
            normed, stream = self._normed(self._product(layer, "down", self.node("Mul", [gate, up])), stream)
        head = "output" if "output" in self._tensors else "token_embd"
        self._whole_numbers(normed, self._turned.columns("", floats(self._tensors[head])), name="logits")

    def _normed(self, new: str, stream: str) -> tuple[str, str]:
        """The stream with `new` added to it, normalised and as it is."""
        normed, _, _, both = self.node(
            "SkipSimplifiedLayerNormalization",
            [new, stream, self._ones],
            domain=_FUSED,
            outputs=4,
            epsilon=self._epsilon,
        )
        return normed, both

    def _product(self, layer: int, group: str, states: str) -> str:
        names = [f"blk.{layer}.{kind}" for kind in GROUPS[group]]
        if group == "down":
            states = self._mix(states)
        rows = [self._turned.rows(name, self._turned.columns(name, floats(self._tensors[name]))) for name in names]
        matrix = np.concatenate(rows)
        product = self._whole_numbers(states, matrix)
        if not self._adapted:
            return product
        factors = [f"{layer}.{group}.{factor}" for factor in "ab"]
        rank = f"R{layer}{group}"
        self._inputs += [Port(factors[0], "float32", (matrix.shape[1], rank))]
        self._inputs += [Port(factors[1], "float32", (rank, matrix.shape[0]))]
        added = self.node("MatMul", [self.node("MatMul", [states, factors[0]]), factors[1]])
        return str(self.node("Add", [product, added]))

    def _mix(self, states: str) -> str:
        apart = self.constant(np.array([0, 0, -1, self._turned.mixed]))
        again = self.constant(np.array([0, 0, self.sizes["wide"]]))
        blocks = self.node("MatMul", [self.node("Reshape", [states, apart]), self._mixing])
        return str(self.node("Reshape", [blocks, again]))

    def _whole_numbers(self, states: str, matrix: Rows, name: str = "") -> str:
        """`states` times the transpose of `matrix`, shape [N, K]."""
        scale = np.abs(matrix).max(axis=1) / _LEVELS
        whole = np.rint(matrix.T / np.maximum(scale, 1e-20)).astype(np.int8)
        largest = self.node("ReduceMax", [self.node("Abs", [states]), self._axis], keepdims=1)
        largest = self.node("Max", [largest, self._least])
        small = self.node("QuantizeLinear", [self.node("Div", [states, largest]), self._step, self._middle])
        inputs = [small, self.constant(whole), self._step, self.constant(scale.astype(np.float32)), self._middle]
        product = self.node("MatMulIntegerToFloat", inputs, domain=_FUSED)
        return str(self.node("Mul", [product, largest], name=name))


def read_facts(noted: Mapping[str, str]) -> tuple[Turned, list[int], str]:
    """From the metadata of a graph: its rotations, the control tokens and the tokenizer's JSON."""
    sizes, norms = json.loads(noted["sizes"]), json.loads(noted["norms"])
    gains = np.frombuffer(base64.b64decode(noted["gains"]), dtype="<f4").reshape(len(norms), -1)
    return Turned(sizes, dict(zip(norms, gains, strict=True))), json.loads(noted["controls"]), noted["tokenizer"]


def _rotation(size: int, seed: int) -> NDArray[np.float32]:
    """An orthogonal matrix that spreads each coordinate over all: a cosine transform of random signs."""
    # Graphs are kept, and adapters turned anew at each load: the signs must never change.
    signs = np.random.RandomState(seed).randint(2, size=size) * 2 - 1
    cosines = np.cos(np.pi / size * np.outer(np.arange(size) + 0.5, np.arange(size))) * np.sqrt(2 / size)
    cosines[:, 0] /= np.sqrt(2)
    return np.ascontiguousarray(signs[:, None] * cosines, dtype=np.float32)


def _blocks(rows: Rows, rotation: NDArray[np.float32]) -> Rows:
    """`rows`, shape [N, K], with each stretch of columns rotated by itself."""
    size = len(rotation)
    return _product(rows.reshape(-1, size), rotation).reshape(rows.shape)


def _product(one: Rows, other: Rows) -> Rows:
    """In fp64: the order of sums depends on the number of threads, and in fp32 it would decide how weights round."""
    return np.asarray(one.astype(np.float64) @ other.astype(np.float64), dtype=np.float32)


def _packed(name: str, downs: list[Rows], ups: list[Rows]) -> dict[str, Rows]:
    """The factors of several matrices as those of one, its rank a multiple of 8.

    ONNX Runtime multiplies by few columns in another order, and the last bits would depend on the number of tokens.
    """
    rank = sum(map(len, downs))
    full = -(-rank // 8) * 8
    a = np.zeros((downs[0].shape[1], full), dtype=np.float32)
    b = np.zeros((full, sum(map(len, ups))), dtype=np.float32)
    row = column = 0
    for down, up in zip(downs, ups, strict=True):
        a[:, row : row + len(down)] = down.T
        b[row : row + len(down), column : column + len(up)] = up.T
        row, column = row + len(down), column + len(up)
    return {f"{name}.a": a, f"{name}.b": b}
