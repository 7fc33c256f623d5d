"""`python -m support.compiling` compiles the kernels for GPUs; it needs none. One JSON line each.

A process of its own, since kernels of the tests' are interpreted.
"""

import json
import sys
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from r3mes.engine.attention import Heads
from r3mes.engine.cuda import kernels
from r3mes.engine.cuda.cache import Pages
from r3mes.engine.cuda.geometry import tile_tokens
from r3mes.engine.cuda.step import Layer

NAMES = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32"}
PLAIN: dict[str, Any] = {"query_heads": 32, "heads": 8, "width": 128}
FULL: dict[str, Any] = {
    "query_heads": 8,
    "heads": 4,
    "width": 256,
    "softcap": 50.0,
    "window": 4096,
    "sinks": True,
}
SUBJECTS = [  # Ampere is 80, Hopper 90
    (PLAIN, torch.bfloat16, 90),
    (FULL, torch.bfloat16, 80),
    (PLAIN, torch.float32, 80),
]


def layer(
    dtype: torch.dtype,
    *,
    query_heads: int,
    heads: int,
    width: int,
    sinks: bool = False,
    **asks: Any,
) -> Layer:
    made = torch.empty(1, query_heads, 2, width, dtype=dtype, device="meta")
    key = made[:, :heads]
    pages = torch.empty(4, heads, 16, width, dtype=dtype, device="meta")
    given = {"scaling": None, "window": None, "softcap": None, **asks}
    heads_asked = Heads(made, key, key, sinks=made[0, :, 0, 0] if sinks else None, **given)
    return Layer(Pages(pages, pages), heads_asked)


def compiled(fn: Any, signature: dict[str, Any], constants: dict[str, Any], **wanted: Any) -> Any:
    names = list(signature) + list(constants)
    source = ASTSource(
        fn=fn,
        signature={**signature, **dict.fromkeys(constants, "constexpr")},
        constexprs={(names.index(name),): value for name, value in constants.items()},
        attrs={},
    )
    return triton.compile(
        source,
        target=GPUTarget("cuda", wanted.pop("target"), 32),
        options={"enable_fp_fusion": True, **wanted},
    )


def of_layer(it: Layer, dtype: torch.dtype, target: int) -> dict[str, Any]:
    name, shape = f"*{NAMES[dtype]}", it.shape
    told: Any = {"sheet": ("*i32",) * 6}
    steps = ("first_tile", "first_token", "query_token", "query_head")
    done = {}
    for tokens, splits in ((1, 8), (tile_tokens([shape]), 1)):
        to = "*fp32" if splits > 1 else name
        done[f"attend {tokens}"] = compiled(
            kernels.attend,
            dict.fromkeys(("query", "keys", "values", "sinks"), name)
            | {"out": to, "sums": to, **told, **dict.fromkeys(steps, "i32")}
            | {"scale": "fp32", "softcap": "fp32"},
            {"SHAPE": shape, "SPLITS": splits, "TOKENS": tokens, "ROWS": shape.rows(tokens)},
            target=target,
            num_warps=shape.warps(tokens),
            num_stages=2,
        )
    pointers = dict.fromkeys(("key", "value", "keys", "values"), name) | {"slots": "*i32"}
    strides = dict.fromkeys(("key_token", "key_head", "value_token", "value_head"), "i32")
    done["store"] = compiled(
        kernels.store, pointers | strides, {"SHAPE": shape}, target=target, num_warps=1
    )
    parts = {"parts": "*fp32", "sums": "*fp32", "out": name, "first_line": "i32"}
    done["combine"] = compiled(
        kernels.combine, parts, {"SHAPE": shape, "SPLITS": 8}, target=target, num_warps=1
    )
    return done


def main() -> None:
    for asked, dtype, target in SUBJECTS:
        it = layer(dtype, **asked)
        for kernel, made in of_layer(it, dtype, target).items():
            report = {
                "kernel": f"{kernel}, {asked['width']} wide, {NAMES[dtype]}, sm_{target}",
                "shared": made.metadata.shared,
                "products": made.asm["ptx"].count("mma"),
            }
            sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
