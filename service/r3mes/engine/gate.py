"""Decides whether a request can be served at all. Pure; the API has checked the same before.

It is checked again here because a value that crashes the model would take every stream with it.
"""

from dataclasses import dataclass

from r3mes.engine.messages import ModelInfo, Submit
from r3mes.errors import ContextTooLong, InvalidRequest


@dataclass(frozen=True, slots=True)
class Gate:
    """`capacity` is how many positions the whole KV cache holds."""

    model: ModelInfo
    capacity: int

    @property
    def limit(self) -> int:
        """Most tokens of prompt plus output that one sequence can have."""
        return min(self.model.max_len, self.capacity)

    def check(self, submit: Submit) -> None:
        """Raise InvalidRequest for what can never be served."""
        params = submit.params
        if not submit.prompt:
            raise InvalidRequest("The prompt is empty.", code="empty_prompt", param="prompt")
        if params.max_tokens < 0:
            raise InvalidRequest("max_tokens is negative.", param="max_tokens")
        self._check_ids(submit.prompt, param="prompt")
        self._check_ids(params.stop_token_ids, param="stop_token_ids")
        self._check_ids(params.logit_bias, param="logit_bias")
        self._check_length(len(submit.prompt) + min(params.max_tokens, 1))

    def _check_ids(
        self, ids: list[int] | tuple[int, ...] | dict[int, float], *, param: str
    ) -> None:
        size = self.model.vocab_size
        if ids and not (min(ids) >= 0 and max(ids) < size):
            raise InvalidRequest(
                f"{param} holds a token id outside 0 to {size - 1}.",
                code="invalid_token_id",
                param=param,
            )

    def _check_length(self, least: int) -> None:
        if least > self.model.max_len:
            raise ContextTooLong(
                f"This model's context is {self.model.max_len} tokens; the request needs {least}."
            )
        if least > self.capacity:
            raise ContextTooLong(
                f"The KV cache is too small: it holds {self.capacity} tokens, "
                f"the request needs {least}."
            )
