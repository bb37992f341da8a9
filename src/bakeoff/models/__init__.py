"""Models by name: `generator("smollm2-135m")`, `embedder("minilm-int8")`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bakeoff import plugins
from bakeoff.types import Embedder, Generator


def generator(name: str | Path, *, adapters: Sequence[Path] = (), reuse: bool = False) -> Generator:
    """A generator for weights, a checkpoint folder, or an endpoint `http://host/v1#model`.

    `adapters`: checkpoint folders that are loaded beside the base, to be switched to later. `reuse`: do not read again
    what a prompt has in common with the one before, where llama.cpp runs the model; endpoints decide for themselves.
    """
    name = str(name)
    if name == "scripted":
        return plugins.get("generators", "scripted")()
    if name.startswith(("http://", "https://")):
        return plugins.get("generators", "openai")(name)
    from bakeoff.models.weights import resolve

    weights = resolve(name)
    # llama.cpp knows whole models and low-rank additions; torch serves the others.
    if weights.kind == "gguf" and (weights.adapter is None or (weights.adapter / "adapter.gguf").is_file()):
        return plugins.get("generators", "llamacpp")(weights, adapters=adapters, reuse=reuse)
    return plugins.get("generators", "transformers")(weights)


def embedder(name: str) -> Embedder:
    """An embedder by name: `minilm-int8`, `minilm` (through llama.cpp), `hashing`, or a GGUF file.

    `pooled:` before the name of a generator's weights: the mean of its last hidden states (needs the extra `tune`).
    """
    if name == "hashing":
        return plugins.get("embedders", "hashing")()
    from bakeoff.models.weights import PACKAGED, resolve

    if name.startswith("pooled:"):
        return plugins.get("embedders", "transformers")(resolve(name.removeprefix("pooled:")))
    if name in PACKAGED and PACKAGED[name].kind == "onnx":
        return plugins.get("embedders", "onnx")(resolve(name))
    return plugins.get("embedders", "llamacpp")(resolve(name))
