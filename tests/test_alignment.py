"""The data's labels beside a checkpoint's: by name where names can tell, else out loud."""

from __future__ import annotations

import pytest

from tfft.data.alignment import align, are_unnamed, respelled
from tfft.errors import DataError

UNNAMED = ("LABEL_0", "LABEL_1", "LABEL_2")
SENTIMENT = ("NEGATIVE", "POSITIVE")


@pytest.mark.parametrize(
    ("found", "learned", "names", "told"),
    [
        (("no", "yes"), ("no", "yes"), ("no", "yes"), None),
        (("no", "yes"), ("yes", "no"), ("yes", "no"), "the model orders them yes, no"),
        (("b", "c"), ("a", "b", "c"), ("a", "b", "c"), None),
        (("negative", "positive"), ("POSITIVE", "NEGATIVE"), ("positive", "negative"), "case"),
        (("positive",), SENTIMENT, ("NEGATIVE", "positive"), "case"),
        (("0", "1"), SENTIMENT, ("0", "1"), "0 is NEGATIVE, 1 is POSITIVE"),
        (("1",), SENTIMENT, ("0", "1"), "1 is POSITIVE"),
        (("x", "y", "z"), UNNAMED, ("x", "y", "z"), "the model names none"),
        (("0", "2"), UNNAMED, ("0", "1", "2"), "the model names none; 0, 1, 2"),
        (("LABEL_2", "LABEL_0"), UNNAMED, UNNAMED, "the model orders them LABEL_0"),
    ],
)
def test_the_data_s_names_are_in_the_order_of_the_model_s_ids(
    found: tuple[str, ...], learned: tuple[str, ...], names: tuple[str, ...], told: str | None
) -> None:
    aligned, note = align(found, learned, are_all=True, where="data, validation")
    assert aligned == names
    if told is None:
        assert note is None
    else:
        assert note is not None
        assert note.startswith("labels: ")
        assert told in note


def test_values_that_occur_tell_no_order() -> None:
    assert align(("no", "yes"), ("yes", "no"), are_all=False, where="d")[1] is None


@pytest.mark.parametrize(
    ("found", "learned"),
    [
        (("no", "maybe"), ("no", "yes")),
        (("1", "5"), ("1", "2", "3")),
        (("0", "7"), SENTIMENT),
        (("Yes", "yes"), ("yes", "no")),
    ],
)
def test_a_label_that_is_not_known_is_left_for_the_row_that_has_it(
    found: tuple[str, ...], learned: tuple[str, ...]
) -> None:
    assert align(found, learned, are_all=True, where="d") == (learned, None)


@pytest.mark.parametrize("found", [("a", "b"), ("a", "b", "c", "d"), ("0", "1", "2", "3")])
def test_a_model_without_names_needs_as_many(found: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match=rf"the data has {len(found)} classes .*the model 3"):
        align(found, UNNAMED, are_all=True, where="data, validation")


def test_only_transformers_own_words_are_no_names() -> None:
    assert are_unnamed(UNNAMED)
    assert not are_unnamed(("LABEL_0", "spam"))


def test_names_that_differ_in_their_case_alone_are_not_confused() -> None:
    assert respelled(("a", "A"), ("A", "a")) is None
    assert respelled(("yes", "no"), ("No", "Yes")) == ("no", "yes")
    assert respelled(("yes", "maybe"), ("No", "Yes")) is None
