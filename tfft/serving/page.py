"""The page at `/`: a text, or a pair, is typed, and the labels' bars are shown.

    asked = await answer(service, read_form(b"text=a+fine+film"))
    html = render(service, asked)

A plain form and no script: what is shown is made here, and every text is escaped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import numpy as np

from tfft.errors import RequestError

if TYPE_CHECKING:
    from tfft.serving.service import Service

# Nothing is fetched from anywhere, nothing runs, and no other page shows this one.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
# More bars than anybody reads.
MOST_BARS = 20


@dataclass(frozen=True)
class Bar:
    """A label with its score.

    Attributes:
        score: 0 to 1.
        is_chosen: whether the model answers with this label.
    """

    name: str
    score: float
    is_chosen: bool = False


@dataclass(frozen=True)
class Asked:
    """What was typed and what came of it."""

    texts: Mapping[str, str] = field(default_factory=dict)
    bars: tuple[Bar, ...] = ()
    n_left_out: int = 0
    value: float | None = None
    error: str = ""
    status: int = 200


def read_form(body: bytes) -> dict[str, str]:
    """A form's fields, as browsers send them.

    Raises:
        RequestError: it isn't one.
    """
    try:
        fields = parse_qs(
            body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=8
        )
    except ValueError:
        raise RequestError("the form can't be read") from None
    return {name: values[-1].replace("\r\n", "\n") for name, values in fields.items()}


async def answer(service: Service, form: Mapping[str, str]) -> Asked:
    """Asks the model for what was typed; what goes wrong is shown on the page."""
    signature = service.text_signature
    if signature is None:
        return Asked(error="This bundle takes tokens, not texts.", status=400)
    texts = {name: form.get(name, "") for name in signature.inputs}
    if not texts["text"].strip():
        return Asked(texts, error="Type a text first.", status=400)
    try:
        outputs = await service.predict_texts(texts)
    except RequestError as error:
        return Asked(texts, error=str(error), status=error.status)
    if (scores := outputs.get("scores")) is not None and scores.ndim == 1:
        bars = make_bars(scores, outputs.get("label"), service.bundle.label_names)
        return Asked(texts, bars[:MOST_BARS], max(0, len(bars) - MOST_BARS))
    if (value := outputs.get("value")) is not None and value.ndim == 0:
        return Asked(texts, value=float(value))
    return Asked(texts, error="The model's answer has neither `scores` nor `value`.", status=500)


def make_bars(scores: np.ndarray, label: object, label_names: tuple[str, ...]) -> tuple[Bar, ...]:
    """The highest first.

    Args:
        scores: float32 [labels].
        label: the model's own answer, as bytes: a name, or of multi-label a JSON list of them. A
            single one names the highest score where nothing else does.
        label_names: by class id; where there aren't as many as scores, the ids stand for them.
    """
    known = len(label_names) == len(scores)
    names = list(label_names) if known else [f"class {number}" for number in range(len(scores))]
    given = _labels_given(label, names)
    if len(given) == 1 and not known and len(scores):
        names[int(np.argmax(scores))] = given[0]
    order = np.argsort(-scores, kind="stable")
    return tuple(Bar(names[each], float(scores[each]), names[each] in given) for each in order)


def _labels_given(label: object, names: Sequence[str]) -> list[str]:
    """The model's answer: a name, or of multi-label a JSON list of names."""
    if not isinstance(label, bytes):
        return []
    text = label.decode("utf-8", "replace")
    if text not in names and text.startswith("["):
        with suppress(ValueError):
            return [str(each) for each in json.loads(text)]
    return [text]


def render(service: Service, asked: Asked) -> str:
    signature = service.text_signature
    return _template("page.html").render(
        name=service.name,
        version=service.bundle.version,
        fields=[] if signature is None else list(signature.inputs),
        signatures=sorted(service.model.signatures),
        asked=asked,
    )


@cache
def _template(name: str) -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("tfft.serving", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template(name)
