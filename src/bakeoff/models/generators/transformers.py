"""Safetensors or GGUF weights through torch, with what a checkpoint puts in or before them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bakeoff.errors import ModelError
from bakeoff.models import weights as files
from bakeoff.models.additions import Switch
from bakeoff.models.chat import render
from bakeoff.models.devices import device, moved
from bakeoff.models.gguf import load_for_training
from bakeoff.models.llama import free_cores
from bakeoff.models.local import Local
from bakeoff.models.prefix import Prefix
from bakeoff.types import Generation, Message, Pieces, Schema, Usage

SCORED = 512
"""Tokens whose likelihood is computed in one batch; their logits are the most memory that is held."""
PAD = 0
"""Any id will do: padding is masked."""


class Generator(Local):
    """Greedy decoding in fp32; the model is loaded at the first use, checkpoints on it are switched per request."""

    def __init__(self, weights: files.Weights) -> None:
        super().__init__(weights, (), False)
        self.window = files.window(weights)
        self._shared = _Shared(weights.path)

    def _switches(self, checkpoint: Path) -> bool:
        return True

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
        """For each rendered prompt and the text behind it: the text's log-probability, and its tokens.

        A prompt that several texts share is read once.
        """
        tokenizer = self._tokenizer
        sharing: dict[str, list[int]] = {}
        for place, (prompt, _) in enumerate(pairs):
            sharing.setdefault(prompt, []).append(place)
        found: dict[int, tuple[float, int]] = {}
        for prompt, places in sharing.items():
            ids = tokenizer.encode(prompt, add_special_tokens=False).ids
            targets = {place: tokenizer.encode(pairs[place][1], add_special_tokens=False).ids for place in places}
            places.sort(key=lambda place: len(targets[place]))
            while places:
                count = max(1, SCORED // len(targets[places[-1]]))
                part, places = places[-count:], places[:-count]
                values = self._likelihoods(ids, [targets[place] for place in part])
                found |= dict(zip(part, values, strict=True))
        return [found[place] for place in range(len(pairs))]

    def _likelihoods(self, prompt: Sequence[int], targets: Sequence[Sequence[int]]) -> list[tuple[float, int]]:
        """Of texts behind one prompt, from one batch; without a prompt the first token of each is given."""
        prefix = self._prefix
        past, first = prefix.cache(1) if prefix else None, None
        with self._shared.base.on(self.weights.adapter) as model, torch.no_grad():
            if prompt:
                output = model(input_ids=self._ids([prompt]), past_key_values=past, use_cache=True, logits_to_keep=1)
                past, first = output.past_key_values, output.logits[0, -1]
            before = past.get_seq_length() if past else 0
            if past:
                past.batch_repeat_interleave(len(targets))
            longest = max(map(len, targets))
            rows = torch.full((len(targets), longest), PAD)
            mask = torch.zeros(len(targets), before + longest, dtype=torch.long)
            for row, target in enumerate(targets):
                rows[row, : len(target)] = torch.tensor(target)
                mask[row, : before + len(target)] = 1
            rows, mask = rows.to(model.device), mask.to(model.device)
            output = model(input_ids=rows, attention_mask=mask, past_key_values=past, use_cache=past is not None)
        found = []
        for row, target in enumerate(targets):
            # The logits at a position are about the token after it.
            logits = output.logits[row, : len(target) - 1]
            wanted = self._ids(target[1:])
            if first is not None:
                logits, wanted = torch.cat([first[None], logits]), self._ids(target)
            chosen = logits.float().gather(1, wanted[:, None])[:, 0] - logits.float().logsumexp(dim=-1)
            found.append((float(chosen.sum()), len(wanted)))
        return found

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
        prefix = self._prefix
        before = prefix.length if prefix else 0
        longest = max(map(len, prompts), default=0)
        if before + longest + max_tokens > self.window:
            raise ModelError(
                f"a prompt of {before + longest} tokens and {max_tokens} to come exceed the {self.window} of "
                f"{self.name}; shorten the prompt"
            )
        # Padded on the left, so that all rows go on at the same place.
        ids = self._ids([[PAD] * (longest - len(prompt)) + list(prompt) for prompt in prompts])
        mask = self._ids([[1] * before + [0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
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
            ids = self._ids(tokens)[:, None]
            mask = torch.cat([mask, mask.new_ones(len(prompts), 1)], dim=1)

    def _step(self, ids: Tensor, mask: Tensor, cache: Any) -> tuple[Tensor, Any]:
        """Logits [B, V] of the token after `ids` [B, T]; `mask` [B, all tokens so far]."""
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        with self._shared.base.on(self.weights.adapter) as model, torch.no_grad():
            output = model(
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
    def _tokenizer(self) -> Any:
        return self._shared.tokenizer

    @property
    def _prefix(self) -> Prefix | None:
        return self._shared.base.before(self.weights.adapter)

    def _ids(self, numbers: Any) -> Tensor:
        return torch.tensor(numbers, device=self._shared.model.device)

    def _encode(self, messages: Sequence[Message]) -> list[int]:
        text = render(self.template, messages)
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def _text(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))

    def _stops(self) -> set[int]:
        """The end of the turn, and whatever else the model's own files name as an end."""
        also = self._shared.model.generation_config.eos_token_id
        return {self._tokenizer.token_to_id(self.template.eos), *(also if isinstance(also, list) else [also])}


class _Shared:
    """What a generator and its twins have in common, loaded when first asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._loaded: tuple[Any, Any, Switch] | None = None
        self._lock = threading.Lock()

    @property
    def model(self) -> Any:
        return self._load()[0]

    @property
    def tokenizer(self) -> Any:
        return self._load()[1]

    @property
    def base(self) -> Switch:
        return self._load()[2]

    def _load(self) -> tuple[Any, Any, Switch]:
        with self._lock:
            if self._loaded is None:
                torch.set_num_threads(free_cores())
                model, tokenizer = load_for_training(self._path)  # already in evaluation mode
                model = moved(model, device())
                self._loaded = model, tokenizer, Switch(model)
            return self._loaded
