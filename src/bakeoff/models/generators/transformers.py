"""Safetensors or GGUF weights through torch, with what a checkpoint puts in or before them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from bakeoff.errors import ModelError
from bakeoff.models import weights as files
from bakeoff.models.additions import add
from bakeoff.models.chat import render
from bakeoff.models.gguf import load_for_training
from bakeoff.models.llama import free_cores
from bakeoff.models.prefix import Prefix
from bakeoff.types import Generation, Message, Pieces, Schema, Usage

SCORED = 8
"""Texts whose likelihood is computed in one batch; their logits are the most memory that is held."""
PAD = 0
"""Any id will do: padding is masked."""


class Generator:
    """Greedy decoding in fp32; the model is loaded at the first use."""

    def __init__(self, weights: files.Weights) -> None:
        self.name = weights.name
        self.weights = weights
        self.template = files.template(weights)
        self.window = files.window(weights)
        self._loaded: tuple[Any, Any, Prefix | None] | None = None
        self._lock = threading.Lock()

    @property
    def fingerprint(self) -> str:
        """Of the weights, adapter included."""
        return self.weights.fingerprint

    def count(self, messages: Sequence[Message]) -> int:
        return len(self._encode(messages))

    def generate(self, messages: Sequence[Message], *, max_tokens: int = 128, schema: Schema = None) -> Generation:
        if schema:
            raise ModelError(f"{self.name} cannot be held to a JSON schema; use GGUF weights or an endpoint that can")
        return self.generate_many([messages], max_tokens=max_tokens)[0]

    def generate_many(self, batch: Sequence[Sequence[Message]], *, max_tokens: int = 128) -> list[Generation]:
        """The texts that `generate` gives one by one, from one batch; its seconds are shared out evenly."""
        start = time.perf_counter()
        prompts = [self._encode(messages) for messages in batch]
        columns = list(self._decode(prompts, max_tokens))
        seconds = (time.perf_counter() - start) / max(1, len(prompts))
        generations = []
        for number, prompt in enumerate(prompts):
            made = [column[number] for column in columns]
            generations.append(self._generation(len(prompt), [one for one in made if one], max_tokens, seconds))
        return generations

    def stream(self, messages: Sequence[Message], *, max_tokens: int = 128) -> Pieces:
        start = time.perf_counter()
        made: list[tuple[int, float]] = []
        sent, prompt = "", self._encode(messages)
        for column in self._decode([prompt], max_tokens):
            made += [one for one in column if one]
            text = self._text([token for token, _ in made])
            if not text.endswith("\N{REPLACEMENT CHARACTER}"):  # else the rest of the letter is still to come
                yield text[len(sent) :]
                sent = text
        whole = self._generation(len(prompt), made, max_tokens, time.perf_counter() - start)
        yield whole.text[len(sent) :]
        return whole

    def likelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, int]]:
        """For each rendered prompt and the text behind it: the text's log-probability, and its tokens."""
        model, tokenizer, prefix = self._load()
        ids = [[tokenizer.encode(text, add_special_tokens=False).ids for text in pair] for pair in pairs]
        before = prefix.length if prefix else 0
        order = sorted(range(len(ids)), key=lambda place: len(ids[place][0]) + len(ids[place][1]))
        found: dict[int, tuple[float, int]] = {}
        for first in range(0, len(order), SCORED):
            part = order[first : first + SCORED]
            longest = max(len(ids[place][0]) + len(ids[place][1]) for place in part)
            rows = torch.full((len(part), longest), PAD)
            mask = torch.zeros(len(part), before + longest, dtype=torch.long)
            for row, place in enumerate(part):
                both = [*ids[place][0], *ids[place][1]]
                rows[row, : len(both)] = torch.tensor(both)
                mask[row, : before + len(both)] = 1
            past = prefix.cache(len(part)) if prefix else None
            with torch.inference_mode():
                output = model(input_ids=rows, attention_mask=mask, past_key_values=past, use_cache=prefix is not None)
            for row, place in enumerate(part):
                prompt, target = ids[place]
                # The logits at a position are about the token after it; a first token without a prompt is given.
                start = max(1, len(prompt))
                wanted = torch.tensor([*prompt, *target][start:])
                logits = output.logits[row, start - 1 : len(prompt) + len(target) - 1].float()
                chosen = logits.gather(1, wanted[:, None])[:, 0] - logits.logsumexp(dim=-1)
                found[place] = float(chosen.sum()), len(wanted)
        return [found[place] for place in range(len(ids))]

    def _generation(
        self, prompt: int, made: Sequence[tuple[int, float]], max_tokens: int, seconds: float
    ) -> Generation:
        """`made`: the tokens with their log-probabilities."""
        # The stop token was computed too, though it is not part of the text.
        stopped = len(made) < max_tokens
        usage = Usage(fresh=prompt, output=len(made) + stopped, seconds=seconds)
        text = self._text([token for token, _ in made])
        return Generation(text, usage, "stop" if stopped else "length", tuple(logprob for _, logprob in made))

    def _decode(self, prompts: Sequence[Sequence[int]], max_tokens: int) -> Iterator[list[tuple[int, float] | None]]:
        """The next token of every prompt and its log-probability, step by step; None for those that have ended."""
        prefix = self._load()[2]
        before = prefix.length if prefix else 0
        longest = max(map(len, prompts), default=0)
        if before + longest + max_tokens > self.window:
            raise ModelError(
                f"a prompt of {before + longest} tokens and {max_tokens} to come exceed the {self.window} of "
                f"{self.name}; shorten the prompt"
            )
        # Padded on the left, so that all rows go on at the same place.
        ids = torch.tensor([[PAD] * (longest - len(prompt)) + list(prompt) for prompt in prompts])
        mask = torch.tensor([[1] * before + [0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        cache, running = prefix.cache(len(prompts)) if prefix else None, [True] * len(prompts)
        stops = self._stops()
        for _ in range(max_tokens):
            logits, cache = self._step(ids, mask, cache)
            best = logits.max(dim=-1)
            tokens: list[int] = best.indices.tolist()
            logprobs: list[float] = (best.values - logits.logsumexp(dim=-1)).tolist()
            running = [alive and token not in stops for alive, token in zip(running, tokens, strict=True)]
            if not any(running):
                return
            made = zip(tokens, logprobs, running, strict=True)
            yield [(token, logprob) if alive else None for token, logprob, alive in made]
            ids = torch.tensor(tokens)[:, None]
            mask = torch.cat([mask, torch.ones(len(prompts), 1, dtype=torch.long)], dim=1)

    def _step(self, ids: Tensor, mask: Tensor, cache: Any) -> tuple[Tensor, Any]:
        """Logits [B, V] of the token after `ids` [B, T]; `mask` [B, all tokens so far]."""
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        with torch.inference_mode():
            output = self._model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
        return output.logits[:, -1], output.past_key_values

    # ------------------------------------------------------------ model

    @property
    def _model(self) -> Any:
        return self._load()[0]

    def _load(self) -> tuple[Any, Any, Prefix | None]:
        with self._lock:
            if self._loaded is None:
                torch.set_num_threads(free_cores())
                model, tokenizer = load_for_training(self.weights.path)  # already in evaluation mode
                prefix = None
                if self.weights.adapter is not None:
                    model, prefix = add(model, self.weights.adapter)
                self._loaded = model, tokenizer, prefix
            return self._loaded

    def _encode(self, messages: Sequence[Message]) -> list[int]:
        text = render(self.template, messages)
        ids: list[int] = self._load()[1].encode(text, add_special_tokens=False).ids
        return ids

    def _text(self, ids: Sequence[int]) -> str:
        return str(self._load()[1].decode(ids, skip_special_tokens=True))

    def _stops(self) -> set[int]:
        """The end of the turn, and whatever else the model's own files name as an end."""
        model, tokenizer, _ = self._load()
        also = model.generation_config.eos_token_id
        return {tokenizer.token_to_id(self.template.eos), *(also if isinstance(also, list) else [also])}
