"""FastAPI and `generate`, as one writes it in an afternoon: one request at a time, streamed.

A peer of the comparison. Owes nothing to R3MES.
"""

import argparse
import json
from collections.abc import Iterator
from threading import Lock, Thread
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from transformers import AutoModelForCausalLM, AutoTokenizer, TextIteratorStreamer


class Tokens(TextIteratorStreamer):  # type: ignore[misc]  # its base has no types
    """The text of each token at once: the plain one waits for the end of a word."""

    next_tokens_are_prompt: bool

    def put(self, value: Any) -> None:
        if self.next_tokens_are_prompt:
            self.next_tokens_are_prompt = False
        else:
            self.on_finalized_text(self.tokenizer.decode(value))


class Asked(BaseModel):
    prompt: str
    max_tokens: int = 16


def make_app(folder: str) -> FastAPI:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    one_at_a_time = Lock()
    app = FastAPI()

    @app.get("/health")
    def health() -> None:
        """The model is there."""

    @app.post("/v1/completions")
    def completions(asked: Asked) -> StreamingResponse:
        return StreamingResponse(events(asked), media_type="text/event-stream")

    def events(asked: Asked) -> Iterator[str]:
        given = tokenizer(asked.prompt, return_tensors="pt", add_special_tokens=False)
        pieces = Tokens(tokenizer, skip_prompt=True)
        answers: list[Any] = []

        def answer() -> None:
            options = {"max_new_tokens": asked.max_tokens, "do_sample": False, "streamer": pieces}
            try:
                answers.append(model.generate(**given, **options))
            finally:
                pieces.end()  # who waits for them fails too

        with one_at_a_time:
            thread = Thread(target=answer)
            thread.start()
            for text in pieces:
                yield event(choices=[{"index": 0, "text": text, "finish_reason": None}])
            thread.join()
        prompt = given.input_ids.shape[1]
        usage = {"prompt_tokens": prompt, "completion_tokens": answers[0].shape[1] - prompt}
        yield event(choices=[{"index": 0, "text": "", "finish_reason": "length"}], usage=usage)
        yield "data: [DONE]\n\n"

    return app


def event(**fields: Any) -> str:
    return f"data: {json.dumps(fields)}\n\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    asked = parser.parse_args()
    uvicorn.run(make_app(asked.folder), host=asked.host, port=asked.port, log_level="warning")


if __name__ == "__main__":
    main()
