"""What a signature takes and gives, as the requests are read by; NumPy's words, no TensorFlow.

text = Signature("serving_default", {"text": Tensor("string", (None,))}, {...})
text.inputs["text"].rank         # 1
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

DEFAULT = "serving_default"


@dataclass(frozen=True)
class Tensor:
    """What an input or output may be.

    Attributes:
        dtype: TensorFlow's name for it: `string`, `int32`, `float32` ...
        shape: None for any length; None as a whole for any rank.
    """

    dtype: str
    shape: tuple[int | None, ...] | None

    @property
    def rank(self) -> int | None:
        return None if self.shape is None else len(self.shape)


@dataclass(frozen=True)
class Signature:
    name: str
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]

    @property
    def takes_text(self) -> bool:
        """Whether it is fed with texts, one or a pair an example: what a person can type."""
        return set(self.inputs) in ({"text"}, {"text", "text_pair"}) and all(
            each.dtype == "string" and each.rank == 1 for each in self.inputs.values()
        )
