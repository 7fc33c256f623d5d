"""A whole step against the stock module, family by family, and what has no whole step."""

import weakref
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from r3mes.engine import attention
from r3mes.engine.attention import NAME
from r3mes.engine.forward import NOT_FINITE, Logits
from r3mes.engine.native import library
from r3mes.engine.native.cache import NativeCache, stored
from r3mes.engine.native.families import FAMILIES, Builder, family_of
from r3mes.engine.native.library import Operators, Team
from r3mes.engine.native.whole_step import WholeStep
from r3mes.engine.pool_size import make_pool
from r3mes.engine.probe import STOCK, Survey, survey
from r3mes.engine.runner import Row
from support.models import COMMON, RECIPES, VOCABULARY, spread

POSITIONS = 256
TOKENS = 16  # of the largest batch foreseen; the tests feed more
ROUNDING = 1e-4  # of the logits' spread
HALF = 2e-2
EIGHT_BITS = 0.3
SPOILT = VOCABULARY - 1  # a token in no sequence
TABLE = [5, 3, 9, 1, 12, 7, 8]
OTHER_TABLE = [2, 11, 4]
CUTS = [0, 37, 38, 99, 100]  # a sequence is fed from one to the next
TYPES = {
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "mistral",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
    "SmolLM3ForCausalLM": "smollm3",
    "GraniteForCausalLM": "granite",
    "Olmo2ForCausalLM": "olmo2",
    "GemmaForCausalLM": "gemma",
    "Gemma2ForCausalLM": "gemma2",
}
MULTIPLIERS = {
    "embedding_multiplier": 3.0,
    "residual_multiplier": 0.4,
    "attention_multiplier": 0.2,
    "logits_scaling": 5.0,
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
THETA = {"rope_theta": 10000.0}
VARIATIONS: list[tuple[str, dict[str, Any]]] = [
    *((kind, {}) for kind in TYPES.values() if kind != "granite"),  # its default is not to scale
    ("llama", {"attention_bias": True, "mlp_bias": True}),
    ("llama", {"tie_word_embeddings": True}),
    ("llama", {"num_key_value_heads": 1}),
    ("llama", {"num_key_value_heads": 4, "head_dim": 32}),
    ("llama", {"hidden_act": "gelu_pytorch_tanh"}),
    ("llama", {"vocab_size": 333, "intermediate_size": 112}),
    ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 4.0, **THETA}}),
    ("llama", {"rope_parameters": {**LLAMA3, **THETA}}),
    ("llama", {"rope_parameters": {**YARN, **THETA}}),
    ("qwen3", {"attention_bias": True, "tie_word_embeddings": True}),
    ("gemma", {"tie_word_embeddings": True}),
    ("granite", MULTIPLIERS),
    ("granite", {"attention_bias": True, "mlp_bias": True, **MULTIPLIERS}),
    ("smollm3", {"no_rope_layers": [0, 1, 0, 1]}),
]


def make_module(kind: str, **changes: Any) -> Any:
    """The stock module with random weights, biases and norms."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **{**COMMON, **RECIPES.get(kind, {}), **changes})
    module = AutoModelForCausalLM.from_config(
        config, dtype=torch.float32, attn_implementation=STOCK
    ).eval()
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if weight.dim() > 1:
                weight.normal_(std=spread(name, weight))
            else:
                weight += 0.2 * torch.randn_like(weight)
    return module


@dataclass
class Subject:
    """A module that attends as ours do, and its stock logits of both sequences before that."""

    module: Any
    sequences: list[list[int]]
    stock: list[Tensor]
    notes: Survey

    @classmethod
    @torch.inference_mode()
    def of(cls, module: Any) -> "Subject":
        attention.register()
        dice = torch.Generator().manual_seed(1)
        lengths = (CUTS[-1], 20)
        most = module.config.vocab_size - 1  # the last is the tests' own
        sequences = [torch.randint(most, (n,), generator=dice).tolist() for n in lengths]
        stock = [module(input_ids=torch.tensor([ids])).logits[0] for ids in sequences]
        module.set_attn_implementation(NAME)
        return cls(module, sequences, stock, survey(module))

    def whole_step(
        self, found: Operators, *, wish: str = "float32", half: bool = False, threads: int = 2
    ) -> WholeStep:
        family = family_of(self.module)
        assert family
        builder = Builder(self.module, family, wish=wish)
        structure = builder.build(self.notes.heads, positions=POSITIONS)
        shapes = stored(self.notes.shapes, torch.float16) if half else self.notes.shapes
        pool = make_pool(shapes.values(), 16, block_size=16, longest=POSITIONS, cpu=True)
        cache = NativeCache(shapes, pool)
        return WholeStep(found, structure, cache, Team(found, threads), tokens=TOKENS)

    def fed(self, step: WholeStep) -> list[Tensor]:
        """Logits of both sequences: of all positions of the first, of the last of the second."""
        first, second = self.sequences
        lines = []
        for begin, end in pairwise(CUTS):
            count = end - begin
            rows = [Row(first[begin:end], begin, TABLE, None), Row(second, 0, OTHER_TABLE, None)]
            keep = [*range(count), count + len(second) - 1]
            lines.append(step.logits(rows, keep, last=None).lines.clone())
        return [torch.cat([line[:-1] for line in lines]), lines[-1][-1:]]

    def differences(self, step: WholeStep) -> float:
        """The largest, as a part of the stock logits' spread."""
        first, second = self.fed(step)
        pairs = ((self.stock[0], first), (self.stock[1][-1:], second))
        return max(float((ours - stock).abs().max() / stock.std()) for stock, ours in pairs)

    def size(self, step: WholeStep) -> float:
        """Of the differences, in the mean over the first sequence."""
        off = self.fed(step)[0] - self.stock[0]
        return float(off.square().mean().sqrt() / self.stock[0].std())


def test_every_family_is_tried_here() -> None:
    assert set(FAMILIES) == set(TYPES)


@torch.inference_mode()
@pytest.mark.parametrize(("kind", "changes"), VARIATIONS)
def test_chunked_rows_get_the_logits_of_the_stock_module(
    found: Operators, kind: str, changes: dict[str, Any]
) -> None:
    subject = Subject.of(make_module(kind, **changes))

    assert ROUNDING > subject.differences(subject.whole_step(found))


@torch.inference_mode()
@pytest.mark.parametrize("threads", [1, 3, 5])
def test_the_number_of_threads_changes_nothing(found: Operators, threads: int) -> None:
    subject, again = (Subject.of(make_module("llama")) for _ in range(2))

    expected = subject.fed(subject.whole_step(found, threads=1))
    got = again.fed(again.whole_step(found, threads=threads))

    assert [it.tolist() for it in expected] == [it.tolist() for it in got]


@torch.inference_mode()
@pytest.mark.parametrize("kind", ["llama", "gemma2"])
@pytest.mark.parametrize(
    ("bound", "wish", "half"),
    [
        (HALF, "bfloat16", False),
        (HALF, "float32", True),
        (EIGHT_BITS, "int8", False),
        (EIGHT_BITS, "int8", True),
    ],
)
def test_fewer_bits_stay_near_the_stock_module(
    found: Operators, kind: str, bound: float, wish: str, half: bool
) -> None:
    subject = Subject.of(make_module(kind))

    assert bound > subject.size(subject.whole_step(found, wish=wish, half=half))


@torch.inference_mode()
def test_weights_that_fit_sixteen_bits_are_kept_so_and_change_nothing(found: Operators) -> None:
    narrow, wide = (Subject.of(make_module("llama").bfloat16().float()) for _ in range(2))

    expected = wide.fed(wide.whole_step(found, wish="float32"))
    got = narrow.fed(narrow.whole_step(found, wish="auto"))

    assert [it.tolist() for it in expected] == [it.tolist() for it in got]


@torch.inference_mode()
def test_a_token_that_is_not_finite_spoils_its_own_sequence_alone(found: Operators) -> None:
    module = make_module("llama")
    module.model.embed_tokens.weight[SPOILT] = float("nan")
    subject = Subject.of(module)
    step = subject.whole_step(found)
    sound, bad = Row([1, 2, 3, 4], 0, TABLE, None), Row([5, SPOILT, 6], 0, OTHER_TABLE, None)

    expected = step.logits([sound], [3], last=None).lines.clone()
    good, spoilt = step.logits([sound, bad], [3, 6], last=None).lines.clone()

    assert expected[0].tolist() == good.tolist()
    assert not spoilt.isfinite().any()


@torch.inference_mode()
@pytest.mark.parametrize("vocab_size", [300, 333, 352])
def test_the_most_likely_tokens_are_those_that_torch_finds(
    found: Operators, vocab_size: int
) -> None:
    subject = Subject.of(make_module("llama", vocab_size=vocab_size))
    step, ids = subject.whole_step(found), subject.sequences[0]

    lines, best = step.logits([Row(ids, 0, TABLE, None)], range(len(ids)), last=None)

    assert Logits.of(lines).best.tolist() == best.tolist()
    assert 10 < len(set(best.tolist()))


@torch.inference_mode()
@pytest.mark.parametrize(
    ("expected", "values"),
    [
        (7, {7: 1.0, 39: 1.0, 23: 1.0}),
        (23, {24: 1.0, 23: 1.0}),
        (298, {298: 1.0, 299: 1.0}),
        (5, {5: 1.0, 299: 1.0}),
        (299, {5: 1.0, 299: 2.0}),
        (0, {}),
        (NOT_FINITE, {5: float("inf")}),
        (NOT_FINITE, {299: float("inf")}),
        (NOT_FINITE, {5: 1.0, 40: float("nan")}),
        (NOT_FINITE, {5: 1.0, 299: float("nan")}),
        (NOT_FINITE, dict.fromkeys(range(VOCABULARY), float("-inf"))),
    ],
)
def test_of_equal_logits_the_first_is_the_most_likely_and_what_is_not_finite_is_told(
    found: Operators, expected: int, values: dict[int, float]
) -> None:
    module = make_module("llama", attention_bias=True)
    module.lm_head.bias = nn.Parameter(torch.zeros(VOCABULARY))
    module.lm_head.weight.zero_()
    module.lm_head.bias[list(values)] = torch.tensor(list(values.values()))
    step = Subject.of(module).whole_step(found)

    lines, best = step.logits([Row([1], 0, TABLE, None)], [0], last=None)

    assert [expected] == Logits.of(lines).best.tolist() == best.tolist()


@torch.inference_mode()
def test_blocks_of_a_spoilt_sequence_serve_their_next_owner_uncleaned(found: Operators) -> None:
    module = make_module("gemma2")
    module.model.embed_tokens.weight[SPOILT] = float("nan")
    subject = Subject.of(module)
    step = subject.whole_step(found)
    for table in (TABLE, OTHER_TABLE):
        step.logits([Row([SPOILT] * 16 * len(table), 0, table, None)], [0], last=None)

    assert ROUNDING > subject.differences(step)


@torch.inference_mode()
def test_a_module_lets_go_of_what_was_packed() -> None:
    found = library.operators()
    if not isinstance(found, Operators):
        pytest.skip(found.reason)
    subject = Subject.of(make_module("llama", attention_bias=True))
    linears = [it for it in subject.module.model.modules() if type(it) is nn.Linear]
    held = [weakref.ref(it.weight) for it in linears]
    assert 4 * 7 == len(held)

    step = subject.whole_step(found)

    assert [None] * len(held) == [it() for it in held]
    assert {0} == {it.weight.numel() for it in linears}
    assert (1, VOCABULARY) == step.logits([Row([1], 0, TABLE, None)], [0], last=None).lines.shape


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("phi3", {}),
        ("gpt_neox", {}),
        ("mixtral", {}),
        ("gemma3_text", {}),
        ("llama", {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, **THETA}}),
        ("llama", {"hidden_act": "relu"}),
        ("llama", {"hidden_size": 72, "num_attention_heads": 4}),
        ("llama", {"intermediate_size": 100}),
    ],
)
def test_what_a_whole_step_does_not_compute_has_no_family(
    kind: str, changes: dict[str, Any]
) -> None:
    assert None is family_of(make_module(kind, **changes))


@pytest.mark.parametrize(("name", "kind"), TYPES.items())
def test_a_family_is_known_by_its_class(name: str, kind: str) -> None:
    assert FAMILIES[name] is family_of(make_module(kind))
