"""`python -m benchmarks.gpu [--model folder]`: the path `cuda` against device and other engines.

Every contender runs in a process of its own, since each takes the memory that it finds. Writes
docs/benchmarks/gpu-figures.md.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.gpu_report import write_page
from benchmarks.random_model import random_model
from r3mes.engine.checkpoint import read_checkpoint
from r3mes.engine.cuda.geometry import buckets
from r3mes.engine.load import LoadedModel, load_model
from r3mes.engine.loop import Engine
from r3mes.engine.messages import Delivery, SamplingParams, Submit
from r3mes.engine.runner import Row
from r3mes.settings import EngineSettings, ModelSettings

REQUESTS, MOST_IN, TOKENS_OUT = 256, 1024, 256
MAX_BATCH = 256
STEPS = 200
COPIED = 4 << 30  # bytes
ROUNDS = 3
Figures = dict[str, float]


def workload(vocabulary: int) -> list[list[int]]:
    dice = random.Random(0)
    lengths = [dice.randrange(100, MOST_IN) for _ in range(REQUESTS)]
    return [[dice.randrange(3, vocabulary) for _ in range(length)] for length in lengths]


def seconds(work: Callable[[], object]) -> float:
    """Of the device's clock, which waits for nothing of the host's."""
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    began.record()
    work()
    ended.record()
    torch.cuda.synchronize()
    return float(began.elapsed_time(ended)) / 1000


def bandwidth() -> float:
    """Bytes a second: a copy reads each byte and writes it."""
    source = torch.empty(COPIED, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * COPIED / median(seconds(lambda: target.copy_(source)) for _ in range(10))


def load(folder: Path) -> LoadedModel:
    return load_model(
        ModelSettings(source=str(folder), device="cuda", dtype="bfloat16"),
        EngineSettings(max_batch=MAX_BATCH, kv_memory_fraction=0.8),
        checkpoint=read_checkpoint(folder),
        progress=lambda share, detail: None,
        accepted=lambda path: None,
    )


class Run:
    """An engine on a loaded model that answers prompts as fast as it can."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.tokens = 0
        self.engine = Engine(
            loaded.runner,
            model=loaded.info,
            settings=EngineSettings(
                max_batch=MAX_BATCH,
                max_waiting=REQUESTS,
                prompt_lookup=False,
                prefix_cache=False,  # each round asks for the same prompts
            ),
            clock=time.monotonic,
            deliver=self._take,
            on_step=lambda step: None,
        )

    def _take(self, _: str, delivery: Delivery) -> None:
        self.tokens += sum(len(update.ids) for update in delivery.updates)

    def submit(self, stream: int, prompt: list[int], *, tokens: int) -> None:
        params = SamplingParams(temperature=0.0, max_tokens=tokens, ignore_eos=True)
        self.engine.submit("w", Submit(stream, f"r{stream}", prompt, params, None))

    def finish(self) -> None:
        while self.engine.busy:
            self.engine.step()


def step_s(loaded: LoadedModel) -> float:
    """Of one stream, with all that the host does for it."""
    run = Run(loaded)
    run.submit(0, list(range(3, 131)), tokens=STEPS + 50)
    while run.tokens < 20:
        run.engine.step()
    torch.cuda.synchronize()
    began, before = time.perf_counter(), run.tokens
    while run.tokens < before + STEPS:
        run.engine.step()
    spent = (time.perf_counter() - began) / (run.tokens - before)
    run.engine.abort("w", [0])
    run.finish()
    return spent


@torch.inference_mode()
def device_step_s(loaded: LoadedModel) -> float:
    """Of one stream, the device alone: replays without a host between them."""
    forward: Any = loaded.runner.forward
    forward.logits([Row([5], 128, range(-(-129 // forward.block_size)), None)], [0], last=None)
    size = buckets(MAX_BATCH)[0]
    torch.cuda.synchronize()
    return seconds(lambda: [forward.graphs.replay(size) for _ in range(STEPS)]) / STEPS


def weight_bytes(module: Any) -> int:
    """What a decode step reads: all but an embedding that is not the output's too."""
    table, head = module.get_input_embeddings().weight, module.get_output_embeddings().weight
    read = [it for it in module.parameters() if it is head or it is not table]
    return sum(it.numel() * it.element_size() for it in read)


def ours(folder: Path) -> Figures:
    figures = {"bandwidth, GB/s": bandwidth() / 1e9}
    torch.cuda.empty_cache()  # what it took is for the KV cache now
    loaded = load(folder)
    if loaded.info.compute.path != "cuda":
        sys.exit(f"The path cuda does not serve this model: {loaded.info.compute.why}.")
    forward: Any = loaded.runner.forward
    figures["weights, GB"] = weight_bytes(forward.module.plain) / 1e9
    spent: dict[str, list[float]] = {"device alone": [], "launches ahead": [], "one at a time": []}
    for _ in range(ROUNDS):
        spent["device alone"].append(device_step_s(loaded))
        for name, ahead in (("launches ahead", True), ("one at a time", False)):
            loaded.runner.ahead = ahead
            spent[name].append(step_s(loaded))
    figures |= {f"{name}, ms a step": 1000 * median(each) for name, each in spent.items()}
    loaded.runner.ahead = True
    run = Run(loaded)
    figures["tokens/s"] = rate(lambda: answer(run, workload(loaded.info.vocab_size)))
    return figures


def answer(run: Run, prompts: list[list[int]]) -> None:
    for stream, prompt in enumerate(prompts):
        run.submit(stream, prompt, tokens=TOKENS_OUT)
    run.finish()


def rate(work: Callable[[], object]) -> float:
    """Tokens a second of the whole workload, the first time apart, which compiles."""
    spent = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        spent.append(time.perf_counter() - began)
    return REQUESTS * TOKENS_OUT / median(spent[1:])


def transformers(folder: Path) -> Figures:
    from transformers import AutoModelForCausalLM, GenerationConfig

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).to("cuda").eval()
    prompts = workload(model.config.vocab_size)
    wanted = GenerationConfig(max_new_tokens=TOKENS_OUT, do_sample=False, eos_token_id=-1)
    return {"tokens/s": rate(lambda: model.generate_batch(prompts, generation_config=wanted))}


def vllm(folder: Path) -> Figures:
    from vllm import LLM, SamplingParams

    llm = LLM(model=str(folder), dtype="bfloat16", enable_prefix_caching=False)
    size = llm.llm_engine.model_config.get_vocab_size()
    prompts = [{"prompt_token_ids": prompt} for prompt in workload(size)]
    wanted = SamplingParams(temperature=0.0, max_tokens=TOKENS_OUT, ignore_eos=True)
    return {"tokens/s": rate(lambda: llm.generate(prompts, wanted, use_tqdm=False))}


CONTENDERS: dict[str, Callable[[Path], Figures]] = {
    "R3MES": ours,
    "transformers": transformers,
    "vllm": vllm,
}


def in_own_process(name: str, folder: Path) -> Figures:
    command = [sys.executable, "-m", "benchmarks.gpu", "--only", name, "--model", str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"{name} failed; the reason stands above.")
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the path `cuda` on this device.")
    parser.add_argument("--model", type=Path, help="A folder; by default random weights of 135m.")
    parser.add_argument("--only", choices=CONTENDERS, help="Print the figures of one as JSON.")
    asked = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("There is no CUDA device here, and nothing else is measured by this program.")
    folder = asked.model or random_model("135m")
    if asked.only:
        sys.stdout.write(json.dumps(CONTENDERS[asked.only](folder)) + "\n")
        return
    names = [name for name in CONTENDERS if name == "R3MES" or find_spec(name)]
    write_page(folder.name, {name: in_own_process(name, folder) for name in names})


if __name__ == "__main__":
    main()
