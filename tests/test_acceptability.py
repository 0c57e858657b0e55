"""builtin/acceptability asks for grammar: the answer is in no word, no word pair and no length."""

import csv
import re
import runpy
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import matthews_corrcoef
from sklearn.pipeline import make_pipeline

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "tfft" / "builtin" / "acceptability"
GENERATOR = runpy.run_path(str(ROOT / "scripts" / "make_acceptability"))
SPLITS = ("train", "validation")


def read(split: str) -> list[dict[str, str]]:
    with (FOLDER / f"{split}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


ROWS = {split: read(split) for split in SPLITS}
SENTENCES = {split: [row["sentence"] for row in rows] for split, rows in ROWS.items()}
LABELS = {split: [int(row["label"]) for row in rows] for split, rows in ROWS.items()}


@pytest.fixture(scope="module")
def records() -> dict[str, list[Any]]:
    return GENERATOR["generate"](GENERATOR["SEED"])


def tokens(split: str) -> set[str]:
    return {token for sentence in SENTENCES[split] for token in re.findall(r"\w+", sentence)}


def lemma_of_content_form() -> dict[str, str]:
    """Return the lemma of every form of every open-class word, as a token or a sentence start."""
    lemmas = {}
    for word in GENERATOR["read_words"]():
        if not word.is_closed:
            for form in word.forms.values():
                lemmas[form] = lemmas[form.capitalize()] = word.lemma
    return lemmas


def test_the_committed_files_are_what_the_generator_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["make_acceptability", "--output", str(tmp_path)])
    GENERATOR["main"]()
    for split in SPLITS:
        name = f"{split}.csv"
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes()


def test_another_seed_makes_other_sentences(records: dict[str, list[Any]]) -> None:
    others = GENERATOR["generate"](GENERATOR["SEED"] + 1)
    assert {r.sentence for r in others["train"]} != {r.sentence for r in records["train"]}


@pytest.mark.parametrize(("split", "n_least"), [("train", 4000), ("validation", 800)])
def test_a_split_is_large_enough_and_has_the_columns_of_cola(split: str, n_least: int) -> None:
    assert len(ROWS[split]) >= n_least
    assert list(ROWS[split][0]) == ["sentence", "label", "idx"]
    assert [int(row["idx"]) for row in ROWS[split]] == list(range(len(ROWS[split])))


@pytest.mark.parametrize("split", SPLITS)
def test_half_of_each_split_is_acceptable(split: str) -> None:
    counts = Counter(LABELS[split])
    assert counts == {0: len(ROWS[split]) // 2, 1: len(ROWS[split]) // 2}


@pytest.mark.parametrize("split", SPLITS)
def test_a_sentence_begins_with_a_capital_and_ends_with_one_mark(split: str) -> None:
    shape = re.compile(r"[A-Z][A-Za-z']*(,? [A-Za-z']+)*[.?]")
    assert [s for s in SENTENCES[split] if not shape.fullmatch(s)] == []


def test_no_sentence_occurs_twice_in_or_across_splits() -> None:
    counts = Counter(sentence.lower() for split in SPLITS for sentence in SENTENCES[split])
    assert [sentence for sentence, n in counts.items() if n > 1] == []


def test_half_of_the_content_words_of_validation_are_new_as_forms_and_as_lemmas() -> None:
    lemma_of = lemma_of_content_form()
    forms = {split: {t.lower() for t in tokens(split) if t in lemma_of} for split in SPLITS}
    lemmas = {split: {lemma_of[t] for t in tokens(split) if t in lemma_of} for split in SPLITS}
    for words in (forms, lemmas):
        assert len(words["validation"] - words["train"]) >= len(words["validation"]) / 2


def test_no_held_out_word_reaches_train() -> None:
    held_out = {
        form
        for word in GENERATOR["read_words"]()
        if word.is_held_out
        for form in (*word.forms.values(), word.lemma.capitalize())
    }
    assert tokens("train") & held_out == set()


def test_each_phenomenon_has_one_template_in_validation_alone(
    records: dict[str, list[Any]],
) -> None:
    templates: dict[str, dict[str, set[str]]] = {split: defaultdict(set) for split in SPLITS}
    for split in SPLITS:
        for record in records[split]:
            templates[split][record.template.phenomenon].add(record.template.text)
    assert len(templates["train"]) >= 8
    assert templates["train"].keys() == templates["validation"].keys()
    for phenomenon, in_train in templates["train"].items():
        assert len(in_train) >= 3
        assert len(templates["validation"][phenomenon] - in_train) == 1
        assert in_train <= templates["validation"][phenomenon]


@pytest.mark.parametrize("split", SPLITS)
def test_every_template_is_as_often_acceptable_as_not(
    split: str, records: dict[str, list[Any]]
) -> None:
    surplus: Counter[str] = Counter()
    for record in records[split]:
        surplus[record.template.text] += 1 if record.label else -1
    assert set(surplus.values()) == {0}


@pytest.mark.parametrize("ngram_range", [(1, 1), (1, 2), (2, 2)])
@pytest.mark.parametrize("analyzer", ["word", "char_wb"])
def test_counting_ngrams_does_not_find_the_label(
    analyzer: str, ngram_range: tuple[int, int]
) -> None:
    """0.35 is the bar that the data set promises; measured 0.09 at most."""
    counts = CountVectorizer(analyzer=analyzer, ngram_range=ngram_range)
    model = make_pipeline(counts, LogisticRegression(max_iter=1000))
    model.fit(SENTENCES["train"], LABELS["train"])
    predicted = model.predict(SENTENCES["validation"])
    assert matthews_corrcoef(LABELS["validation"], predicted) < 0.35


def test_length_does_not_find_the_label() -> None:
    """0.1 is three standard errors of the correlation of 900 coin tosses (1 / sqrt(900))."""

    def lengths(split: str) -> np.ndarray:
        return np.array([[len(s.split()), len(s), s.endswith("?")] for s in SENTENCES[split]])

    model = LogisticRegression(max_iter=1000).fit(lengths("train"), LABELS["train"])
    predicted = model.predict(lengths("validation"))
    assert abs(matthews_corrcoef(LABELS["validation"], predicted)) < 0.1
