"""Which columns hold the texts, the label and the id: found by name, then by type, or as named.

    columns = find_columns(dataset, where="cola, train")
    columns.texts, columns.labels, columns.id       # ("sentence",), ("label",), "idx"

The names are the ones that public data sets use. Where they leave a doubt, nothing is guessed: the
error lists the columns and says how to name one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from tfft.data.cells import are_texts, trimmed
from tfft.errors import DataError, listed, nearest

if TYPE_CHECKING:
    from datasets import Dataset

# Pairs that belong together, in the order in which models read them (GLUE, SNLI, PAWS, BoolQ ...).
PAIR_NAMES = (
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("premise", "hypothesis"),
    ("question", "sentence"),
    ("question", "passage"),
    ("question", "context"),
    ("query", "passage"),
    ("query", "document"),
    ("text1", "text2"),
    ("text_a", "text_b"),
    ("sentence_a", "sentence_b"),
    ("text", "text_pair"),
)
TEXT_NAMES = (
    *("text", "sentence", "review", "content", "comment", "document", "tweet", "title", "body"),
    *("question", "utterance", "message", "description", "article", "post", "abstract", "headline"),
    *("review_text", "reviewtext", "review_body", "comment_text", "full_text", "tokens_text"),
)
LABEL_NAMES = (
    *("label", "labels", "target", "class", "category", "sentiment", "stars", "rating", "score"),
    *("intent", "topic", "emotion", "verdict", "is_spam", "polarity", "gold_label", "y"),
    *("similarity", "similarity_score", "classes", "categories", "tags", "topics", "emotions"),
)
ID_NAMES = ("id", "idx")
# What a 0/1 column may hold; -1 is how some sets write that a test row's label is kept back.
FLAGS = {
    "0": 0.0,
    "0.0": 0.0,
    "false": 0.0,
    "1": 1.0,
    "1.0": 1.0,
    "true": 1.0,
    "-1": -1.0,
    "-1.0": -1.0,
    "nan": -1.0,
}
# Above this many distinct values a column of whole numbers isn't taken for classes.
MOST_CLASSES = 50
# Rows looked at to tell a column of texts from one of numbers or of a few words.
SAMPLE_ROWS = 1000
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|nan", re.IGNORECASE)


@dataclass(frozen=True)
class Columns:
    """Which columns are which; `labels` are several where each is a 0/1 column of its own."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    id: str | None


def find_columns(
    dataset: Dataset,
    *,
    where: str,
    texts: Sequence[str] = (),
    labels: Sequence[str] = (),
    label_needed: bool = True,
    unusable: Mapping[str, str] | None = None,
) -> Columns:
    """Chooses the columns, by `texts` and `labels` where they are named.

    Args:
        where: the data and its split, for messages.
        unusable: columns that were read but can't be used, and why.

    Raises:
        DataError: a named column isn't there, or none or too many could be meant.
    """
    names = dataset.column_names
    unusable = unusable or {}
    check_columns((*texts, *labels), names, where=where, unusable=unusable)
    ids = [name for name in names if name.lower() in ID_NAMES and name not in unusable]
    id_column = ids[0] if ids else None
    chosen_labels = tuple(labels) or _find_labels(dataset, names, taken={*texts, id_column})
    chosen_texts = tuple(texts) or _find_texts(
        dataset, [name for name in names if name not in (*chosen_labels, id_column)], unusable
    )
    if not 1 <= len(chosen_texts) <= 2:
        found = f"{listed(chosen_texts)} could be" if chosen_texts else "none found"
        raise DataError(
            f"{where}: which column holds the texts? {found} among {listed(names)}; name it with "
            "--text-column (does the file lack a header row?)"
        )
    if not chosen_labels and label_needed:
        raise DataError(
            f"{where}: which column holds the label? Expected one named {listed(LABEL_NAMES[:5])} "
            f"..., found {listed(names)}; name it with --label-column"
        )
    chosen = (*chosen_texts, *(chosen_labels if label_needed else ()))
    check_columns(chosen, names, where=where, unusable=unusable)
    return Columns(chosen_texts, chosen_labels, id_column)


def check_columns(
    chosen: Sequence[str], names: Sequence[str], *, where: str, unusable: Mapping[str, str]
) -> None:
    """Refuses a chosen column that isn't among `names`, or that can't be used."""
    for name in chosen:
        if name not in names:
            raise DataError(
                f"{where}: no column '{name}'{nearest(name, names)}; there are {listed(names)}"
            )
        if name in unusable:
            raise DataError(f"{where}: column '{name}': {unusable[name]}")


def _find_labels(dataset: Dataset, names: Sequence[str], taken: set[str | None]) -> tuple[str, ...]:
    """By the type `ClassLabel`, by name, or as the only other columns of a few values."""
    free = [name for name in names if name not in taken]
    class_labels = [name for name in free if hasattr(dataset.features[name], "names")]
    if len(class_labels) == 1:
        return (class_labels[0],)
    lowered = {name.lower(): name for name in reversed(free)}
    for known in LABEL_NAMES:
        if known in lowered:
            return (lowered[known],)
    known_texts = {*TEXT_NAMES, *(name for pair in PAIR_NAMES for name in pair)}
    others = [name for name in free if name.lower() not in known_texts]
    flags = [name for name in others if _holds_flags(dataset, name)]
    if len(flags) > 1:
        return tuple(flags)
    few = [name for name in others if _n_distinct(dataset, name) in range(2, MOST_CLASSES + 1)]
    return (few[0],) if len(few) == 1 and len(dataset) > 2 * MOST_CLASSES else ()


def _holds_flags(dataset: Dataset, name: str) -> bool:
    """Whether it says yes or no of each row: booleans, or 0 and 1 (-1 where nobody knows)."""
    values = _sample(dataset, name)
    if pa.types.is_nested(values.type) or pa.types.is_null(values.type):
        return False
    distinct = {str(each).strip().lower() for each in pc.unique(values).drop_null().to_pylist()}
    return bool(distinct - {"", "nan"}) and distinct <= {"", *FLAGS}


def flag_texts(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """The cells of a 0/1 column as `FLAGS` has them; null where blank."""
    return pc.utf8_lower(trimmed(values))


def _find_texts(
    dataset: Dataset, names: Sequence[str], unusable: Mapping[str, str]
) -> tuple[str, ...]:
    """By the names of pairs, by name, or as the columns of varied texts.

    A column of a known name that can't be used is chosen all the same, and refused for its reason:
    another in its place would be a surprise.
    """
    texts = [name for name in names if name in unusable or _holds_texts(dataset, name)]
    lowered = {name.lower(): name for name in reversed(texts)}
    for pair in PAIR_NAMES:
        if all(name in lowered for name in pair):
            return tuple(lowered[name] for name in pair)
    known = [name for name in texts if name.lower() in TEXT_NAMES]
    if known:
        return tuple(known)
    named = [name for name in names if name.lower() in TEXT_NAMES]
    if len(named) == 1 and not texts:  # its type is the trouble: let the check of types say so
        return tuple(named)
    usable = [name for name in texts if name not in unusable]
    varied = [name for name in usable if _n_distinct(dataset, name) > MOST_CLASSES]
    return tuple(varied or usable or texts)


def _sample(dataset: Dataset, name: str) -> pa.ChunkedArray:
    return dataset.with_format("arrow")[:SAMPLE_ROWS][name]


def _n_distinct(dataset: Dataset, name: str) -> int:
    values = _sample(dataset, name)
    if pa.types.is_nested(values.type):
        return 0
    return int(pc.count_distinct(values).as_py())


def _holds_texts(dataset: Dataset, name: str) -> bool:
    """Strings that aren't all numbers: every cell of a csv is a string."""
    values = _sample(dataset, name)
    if not are_texts(values.type):
        return False
    present = [value for value in values.to_pylist() if value is not None]
    return any(not is_number(value) for value in present)


def is_number(text: str) -> bool:
    """Whether it reads as a number, or as what pandas writes for none; not as Python's `1_000`."""
    return _NUMBER.fullmatch(text.strip()) is not None
