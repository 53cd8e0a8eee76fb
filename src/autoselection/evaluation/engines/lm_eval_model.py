"""A model in memory that scores and answers token ids, by lm-evaluation-harness's batches. Imports it: imported when scoring
starts.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM
from transformers import DynamicCache, GenerationConfig, StoppingCriteria
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from autoselection.evaluation.engines.contract import Continuation, Question
from autoselection.evaluation.engines.packed_likelihoods import packed_likelihoods
from autoselection.evaluation.engines.roomy_cache import RoomyLayer, give_room
from autoselection.evaluation.generation import AnswerTexts, Generation
from autoselection.evaluation.memory import planned_gpu_bytes
from autoselection.evaluation.remarks import padding_remark
from autoselection.language.packing import Packing, rotation_problem, steady_rotation, tried_packing

#: Bytes that the logits of one pass may take, with a copy in float32 or their log-probabilities.
_LOGIT_BYTES = {"cpu": 1 << 30, "cuda": 8 << 30, "mps": 1 << 30}
_BYTES_PER_LOGIT = 8
_MAX_TOKENS = 16_384

#: Generation holds keys and values, not logits of every position: batches may have so many times more tokens.
_GENERATED_SHARE = 4
#: Bytes that these may take at least on a CPU, where every token of every answer reads all weights: the fewer batches, the faster.
_KEPT_BYTES = 2 << 30

#: Tokens of answers before those that have ended are taken out for the first time; then again when they are twice as many.
_FIRST_TOKENS = 16
#: Layers of a cache that hold keys and values by row.
_LAYERS_OF_ROWS = (DynamicLayer, DynamicSlidingWindowLayer, RoomyLayer)

Request = tuple[tuple[str, str], list[int], list[int]]


class _StopTexts(StoppingCriteria):  # type: ignore[misc]
    """Ends an answer that holds one of the stop texts; rows that ended stay so."""

    def __init__(self, text: AnswerTexts, until: Sequence[str], width: int) -> None:
        self._text, self._until, self._width = text, until, width
        self._tail = max(len(stop.encode()) for stop in until) + 4  # a token holds a byte or more
        self.done: list[bool] = []

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """Which rows have ended; bool[rows]. The ends of all are fetched at once: a GPU is waited for once a token."""
        tails = input_ids[:, self._width :][:, -self._tail :].tolist()
        ended = self.done or [False] * len(tails)
        self.done = [done or self._stops(tail) for done, tail in zip(ended, tails, strict=True)]
        return torch.tensor(self.done, device=input_ids.device)

    def _stops(self, tokens: list[int]) -> bool:
        text = self._text(tokens)
        return any(stop in text for stop in self._until)


def _next_tokens(written: int) -> int:
    """Tokens of answers until those that have ended are taken out again.

    The first one comes alone: its pass reads the prompts, and from the next one on keys and values grow in place.
    """
    return 1 if not written else _FIRST_TOKENS - written if written < _FIRST_TOKENS else written


def _bytes_of_a_token(config: Any) -> int | None:
    """Bytes of the keys and values of one token, in float32; None where the configuration does not say."""
    heads = getattr(config, "num_attention_heads", None)
    layers, width = getattr(config, "num_hidden_layers", None), getattr(config, "hidden_size", None)
    if not (heads and layers and width):
        return None
    size = getattr(config, "head_dim", None) or width // heads
    return int(4 * 2 * layers * (getattr(config, "num_key_value_heads", None) or heads) * size)


def _has_rows(cache: Any) -> bool:
    """Whether rows can be taken out of a cache: of keys and values alone, and not of recurrent states."""
    return isinstance(cache, DynamicCache) and all(type(layer) in _LAYERS_OF_ROWS for layer in cache.layers)


@contextmanager
def _without_own_habits(model: Any) -> Iterator[None]:
    """Generate without what the model's files say of generating.

    transformers fills every setting that is left out from there: penalties of repetition, least lengths, forced and forbidden
    tokens. Most of them have no value that switches them off, so the model lends its configuration.
    """
    own = model.generation_config
    model.generation_config = GenerationConfig(bos_token_id=getattr(own, "bos_token_id", None))
    try:
        yield
    finally:
        model.generation_config = own


class ConversationLM(HFLM):  # type: ignore[misc]
    """``HFLM`` around a model in memory: a :class:`~autoselection.evaluation.engines.contract.LanguageModel`.

    Args:
        seed: of sampled answers.
        batch_size: most sequences of a batch; None is no limit.
        batch_tokens: most tokens of a batch; None is derived from the vocabulary.
        context_length: most tokens of a prompt with its answer; None is what lm-evaluation-harness finds in the model's configuration.
        compiled: compile the forward pass of likelihoods, whose batches are then padded.

    Attributes:
        remarks: why likelihoods were padded though nobody asked for it, or packed without FlashAttention.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        seed: int,
        batch_size: int | None,
        batch_tokens: int | None,
        autocast: bool,
        compiled: bool = False,
        context_length: int | None = None,
    ) -> None:
        super().__init__(
            pretrained=model,
            tokenizer=tokenizer,
            backend="causal",
            batch_size=1,
            max_length=context_length,
            softmax_dtype="float32",
            mixed_precision_dtype="bfloat16" if autocast else None,
            add_bos_token=False,
        )
        self._seed = seed
        self._text = AnswerTexts(tokenizer)
        self._rows = batch_size
        self._tokens = batch_tokens
        self._keeps_logits = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._kept = 0
        self._forward = torch.compile(model, dynamic=True) if compiled else model
        vocabulary = int(model.config.get_text_config().vocab_size)
        room = _LOGIT_BYTES.get(self.device.type, 1 << 30)
        if self.device.type == "cuda":
            room = min(room, planned_gpu_bytes(self.device))
        most = max(1, room // (_BYTES_PER_LOGIT * vocabulary))
        self._positions = most if batch_tokens is None else None  # whose logits one pass may make
        self._packing: Packing | None = None  # None: padding is what was asked for
        if not compiled and not self._keeps_logits:
            self._packing = Packing(False, False, "it does not take 'logits_to_keep'")
        elif not compiled:
            self._packing = tried_packing(model, torch.bfloat16 if autocast else None)
        self._steady = steady_rotation(model.config.get_text_config())
        self._shrinks = True  # answers that have ended are taken out of their batch
        self.remarks: tuple[str, ...] = ()

    def likelihoods(self, asked: Sequence[Continuation]) -> list[tuple[float, bool]]:
        """Log-probability of every continuation, and whether greedy decoding would write it."""
        packing = self._packing_of(asked)
        if packing is not None:
            said = padding_remark("Scoring", self.device.type, packing.possible, packing.problem)
            self.remarks = self.remarks or tuple(said)
        if packing is not None and packing.possible:
            return packed_likelihoods(
                self.model,
                asked,
                max_length=self.max_length,
                pass_tokens=self._tokens,
                pass_positions=self._positions,
                pass_sequences=self._rows,
                arithmetic=self._autocast,
                flash=packing.flash,
            )
        encoded: list[Request] = [(("", ""), each.context, each.ids) for each in asked]
        answers: list[tuple[float, bool]] = [(0.0, False)] * len(encoded)
        for batch in self._batches(encoded):
            pieces = [encoded[index] for index in batch]
            self.batch_size_per_gpu = len(pieces)
            longest = max(len(context) + len(continuation) for _, context, continuation in pieces) - 1
            # Logits are needed from the position in front of the first scored token to the end of the padded batch.
            self._kept = longest - min(len(context) for _, context, _ in pieces) + 1
            scored = super()._loglikelihood_tokens(pieces, disable_tqdm=True)
            for index, answer in zip(batch, scored, strict=True):
                answers[index] = answer
        return answers

    def _packing_of(self, asked: Sequence[Continuation]) -> Packing | None:
        """How these are packed; None where padding was asked for."""
        if self._packing is None or not self._packing.possible or self._steady is None:
            return self._packing
        longest = min(max((len(each.context) + len(each.ids) - 1 for each in asked), default=0), self.max_length)
        if longest <= self._steady:
            return self._packing
        return Packing(False, False, rotation_problem(self._steady, longest))

    def _batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """Cut requests, longest first, into batches; those that share all but the last token stay together."""
        groups: dict[tuple[int, ...], list[int]] = {}
        for index, (_, prompt, continuation) in enumerate(requests):
            groups.setdefault((*prompt, *continuation[:-1]), []).append(index)
        ordered = sorted(groups.items(), key=lambda group: (-len(group[0]), group[0]))
        limit = self._tokens or _MAX_TOKENS
        batches: list[list[int]] = []
        size, longest, shortest = 0, 0, 0
        for tokens, members in ordered:
            context = min(len(requests[index][1]) for index in members)
            shortest = min(shortest, context) if size else context
            longest = longest if size else len(tokens)
            rows = size + 1
            full = size and (
                rows * longest > limit
                or (self._rows is not None and rows > self._rows)
                or (self._positions is not None and rows * (longest - shortest + 1) > self._positions)
            )
            if full or not batches:
                batches.append([])
                size, longest, shortest = 0, len(tokens), context
            batches[-1].extend(members)
            size += 1
        return batches

    def _model_call(self, inps: torch.Tensor, attn_mask: Any = None, labels: Any = None) -> torch.Tensor:
        """Logits of the last ``_kept`` positions only: the prompt's are never looked at."""
        if not self._keeps_logits:
            return super()._model_call(inps)  # type: ignore[no-any-return]
        with torch.no_grad(), self._autocast():
            logits: torch.Tensor = self._forward(inps, use_cache=False, logits_to_keep=self._kept).logits
        return logits

    def answers(self, asked: Sequence[Question]) -> list[tuple[str, bool]]:
        """The answer to every question, and whether it ended because it may be no longer."""
        groups: dict[Generation, list[int]] = {}
        for index, question in enumerate(asked):
            groups.setdefault(question.generation, []).append(index)
        answers = [("", False)] * len(asked)
        torch.manual_seed(self._seed)  # sampled answers must not depend on what training drew
        for settings, order in groups.items():
            order.sort(key=lambda index: -len(asked[index].context))
            room = max(1, self.max_length - settings.max_gen_toks)
            while order:
                width = min(room, len(asked[order[0]].context))
                rows = min(self._answers_together(width, settings.max_gen_toks), self._rows or len(order))
                batch, order = order[:rows], order[rows:]
                contexts = [asked[index].context[-room:] for index in batch]
                for index, tokens in zip(batch, self._continued(contexts, width, settings), strict=True):
                    ended = not set(tokens).isdisjoint(settings.stop_ids)
                    text = self._text(tokens, settings.stop_ids)
                    answers[index] = text, not ended and len(tokens) >= settings.max_gen_toks
        return answers

    def _answers_together(self, width: int, new_tokens: int) -> int:
        """How many questions of up to ``width`` tokens are answered in one batch."""
        usual = max(1, _GENERATED_SHARE * (self._tokens or _MAX_TOKENS) // (width + new_tokens))
        each = _bytes_of_a_token(self.config.get_text_config())
        if self.device.type != "cpu" or each is None:
            return usual
        room = _KEPT_BYTES // (each * (width + new_tokens))
        return max(usual, min(room, _MAX_TOKENS // max(1, width)))  # all prompts are read in one pass

    def _continued(self, contexts: Sequence[list[int]], width: int, settings: Generation) -> list[list[int]]:
        """What the model writes behind each context, of at most ``width`` tokens.

        Answers that have ended are taken out of the batch from time to time. Sampled ones stay: what the others draw
        would depend on it.
        """
        ids = torch.zeros((len(contexts), width), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for position, context in enumerate(contexts):
            ids[position, width - len(context) :] = torch.tensor(context)
            mask[position, width - len(context) :] = 1
        ids, mask = ids.to(self.device), mask.to(self.device)
        sampled = settings.temperature > 0
        shrinks = self._shrinks and not sampled
        rows, cache, written = list(range(len(contexts))), None, 0
        found: list[list[int]] = [[] for _ in contexts]
        # Not in inference mode: autocast would cast all weights anew in every pass there.
        with torch.no_grad(), self._autocast(), _without_own_habits(self.model):
            while rows and written < settings.max_gen_toks:
                left = settings.max_gen_toks - written
                stops = _StopTexts(self._text, settings.until, width) if settings.until else None
                output = self.model.generate(
                    input_ids=ids,
                    attention_mask=mask,
                    past_key_values=cache,
                    max_new_tokens=min(left, _next_tokens(written)) if shrinks else left,
                    do_sample=sampled,
                    temperature=settings.temperature if sampled else None,
                    top_p=settings.top_p if sampled else None,
                    top_k=(settings.top_k or 0) if sampled else None,
                    eos_token_id=list(settings.stop_ids) or None,
                    pad_token_id=settings.stop_ids[0] if settings.stop_ids else 0,
                    stopping_criteria=None if stops is None else [stops],
                    return_dict_in_generate=True,
                )
                cache = output.past_key_values
                if shrinks and not _has_rows(cache):
                    self._shrinks = False
                    return self._continued(contexts, width, settings)
                new = output.sequences[:, ids.shape[1] :].tolist()
                going = []
                for place, (row, tokens) in enumerate(zip(rows, new, strict=True)):
                    found[row] += tokens
                    if not (set(tokens) & set(settings.stop_ids) or (stops is not None and stops.done[place])):
                        going.append(place)
                written += len(new[0])
                kept = torch.tensor(going, dtype=torch.long, device=self.device)
                ids = output.sequences[kept]
                mask = torch.cat([mask, mask.new_ones(len(rows), len(new[0]))], 1)[kept]
                if shrinks:
                    if len(going) < len(rows):
                        cache.batch_select_indices(kept)
                    give_room(cache, self.mixed_precision_dtype)
                rows = [rows[place] for place in going]
        return found

    def _autocast(self) -> torch.autocast:
        return torch.autocast(
            self.device.type, dtype=self.mixed_precision_dtype, enabled=self.mixed_precision_dtype is not None
        )
