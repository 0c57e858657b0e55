"""A fast tokenizer as a graph of core TensorFlow ops.

    graph = open_tokenizer(load_tokenizer(checkpoint), max_length=128)
    graph(tf.constant(["so it goes"]))      # {"input_ids": int32 [1, 5], ...}

No custom op, no Python, no file beside it: whatever loads a SavedModel runs it. What it answers is
proved against the fast tokenizer by `identity.prove`.
"""

from __future__ import annotations

from typing import Any

from tfft.backend import tf
from tfft.errors import ExportError
from tfft.export.assembly import Assembly
from tfft.export.bert_words import BertSplitter
from tfft.export.byte_pairs import BytePairs
from tfft.export.byte_words import ByteLevelSplitter
from tfft.export.components import Components, n_special, read_components
from tfft.export.sentence_words import SentenceSplitter
from tfft.export.unigram import Unigram
from tfft.export.wordpiece import WordPiece
from tfft.export.words import Words


def open_tokenizer(tokenizer: Any, *, max_length: int) -> GraphTokenizer:
    """Builds the tables, which takes some ten seconds.

    Args:
        tokenizer: as `pretrained.load_tokenizer` gives it.
        max_length: tokens of a row, special ones included; a longer one is cut as the fast
            tokenizer does with `truncation=True`.

    Raises:
        ExportError: names a component that isn't reproduced.
    """
    components = read_components(tokenizer)
    if max_length <= n_special(components.single):
        raise ExportError(
            f"max_length {max_length} leaves no room for text: "
            f"{n_special(components.single)} tokens are special ones"
        )
    backend = tokenizer.backend_tokenizer
    splitter: Any
    model: Any
    if components.model["type"] == "BPE":
        splitter = ByteLevelSplitter(components)
        model = BytePairs(components.model, components.added_tokens, backend)
    elif components.model["type"] == "Unigram":
        splitter = SentenceSplitter(backend, components)
        model = Unigram(components.model, components.added_tokens)
    else:
        splitter = BertSplitter(backend, components)
        model = WordPiece(components.model, components.added_tokens)
    return GraphTokenizer(components, splitter, model, max_length=max_length)


class GraphTokenizer(tf.Module):
    """Texts -> what a model reads.

    Attributes:
        features: the names of its answers, in the tokenizer's order.
    """

    def __init__(
        self, components: Components, splitter: Any, model: Any, *, max_length: int
    ) -> None:
        super().__init__(name="tokenizer")
        self.features = components.features
        self.max_length = max_length
        self.model = model
        self._splitter = splitter
        self._assembly = Assembly(components, max_length=max_length)

    def __call__(self, texts: Any, pairs: Any = None) -> dict[str, Any]:
        """Tokens, padded to the longest row.

        Args:
            texts, pairs: string [n_rows]; what isn't UTF-8 in them counts as U+FFFD, as with
                Python's errors="replace".

        Returns:
            int32 [n_rows, longest <= max_length] for each of `features`; [0, 0] of no rows.
        """
        if pairs is None:
            # Each word is a token at least, so those beyond are cut in any case.
            return self._assembly([self.model(self.words(texts).first(self.max_length))])
        # Of a pair, how it is cut asks how long both texts are.
        return self._assembly([self.model(self.words(each)) for each in (texts, pairs)])

    def words(self, texts: Any) -> Words:
        """What comes before the vocabulary: normalised, and split."""
        return self._splitter(texts)
