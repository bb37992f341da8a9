"""Models by name: `generator("smollm2-135m")`, `embedder("minilm-int8")`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bakeoff import plugins
from bakeoff.errors import ModelError
from bakeoff.types import Embedder, Generator

if TYPE_CHECKING:
    from bakeoff.models.weights import Weights


def generator(name: str | Path, *, adapters: Sequence[Path] = (), reuse: bool = False) -> Generator:
    """A generator for weights, a checkpoint folder, or an endpoint `http://host/v1#model`.

    `adapters`: checkpoint folders that are loaded beside the base, to be switched to later. `reuse`: do not read again
    what a prompt has in common with one before, where the model runs in this process; endpoints decide for themselves.
    """
    module, weights = _engine(str(name))
    if module == "scripted":
        return plugins.get("generators", module)()
    if module == "openai":
        return plugins.get("generators", module)(str(name))
    if module == "transformers":
        return plugins.get("generators", module)(weights)
    return plugins.get("generators", module)(weights, adapters=adapters, reuse=reuse)


def engine(name: str | Path) -> str:
    """The plug-in that runs a generator on this machine; raises `ModelError` for what writes no answers."""
    return _engine(str(name))[0]


def _engine(name: str) -> tuple[str, Weights | None]:
    if name == "scripted":
        return name, None
    if name.startswith(("http://", "https://")):
        return "openai", None
    from bakeoff.models.weights import gguf_facts, has_vnni, resolve

    weights = resolve(name)
    if weights.kind == "onnx":
        raise ModelError(f"{name} is an embedder and writes no answers; name a generator, as in smollm2-135m")
    # Whole models and low-rank additions to them; torch runs all others.
    if weights.kind == "gguf" and (weights.adapter is None or (weights.adapter / "adapter.gguf").is_file()):
        from bakeoff.models.decoder_graph import suits

        return "onnx" if has_vnni() and suits(gguf_facts(weights)) else "llamacpp", weights
    return "transformers", weights


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
    weights = resolve(name)
    if weights.kind != "gguf":
        raise ModelError(
            f"{name} is no embedder's GGUF file; name one, or embed with the model's states: pooled:{name}"
        )
    return plugins.get("embedders", "llamacpp")(weights)
