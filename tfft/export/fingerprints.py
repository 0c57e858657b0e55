"""Sequences of code points found in a vocabulary by their fingerprints, in a graph.

    table = FingerprintTable(entries, longest=100)      # [(code points, is_continuation, id), ...]
    prints = table.over(characters, places)
    ids = table.find(prints.between(begins, ends))      # -1 where there is none

A fingerprint is a polynomial in whole numbers modulo 2**64. Those of any part of a text follow from
the running sum over all of it, so that hundreds of parts are looked up in one go, and no string is
made. That no two entries share one is checked; that a text's part has an entry's by accident is as
probable as guessing a number of 64 bits (with 50,000 entries: 1 in 10**14).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfft.backend import tf

# Odd, hence invertible; from a random source once.
_BASE = 0x9E3779B97F4A7C15 | 1
# What sets a part inside a word apart from the same one at its beginning.
_CONTINUES = 0x2545F4914F6CDD1D
_MASK = (1 << 64) - 1


class FingerprintTable(tf.Module):
    """From sequences to ids.

    Args:
        entries: code points, whether they continue a word, and the id.
        longest: characters of a word that can be told apart; of longer ones nothing is found.
    """

    def __init__(self, entries: Iterable[tuple[np.ndarray, bool, int]], *, longest: int) -> None:
        super().__init__()
        keys, values = [], []
        self.longest_entry = 1
        for points, continues, number in entries:
            keys.append(fingerprint(points) + _CONTINUES * continues)
            values.append(number)
            self.longest_entry = max(self.longest_entry, len(points))
        signed = _signed(keys)
        if len(np.unique(signed)) != len(signed):
            raise ValueError("two entries have the same fingerprint")
        self._table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(signed, np.asarray(values, np.int32)), -1
        )
        # One more than there are places: what lies beyond is multiplied by nought.
        powers = [pow(_BASE, place, 1 << 64) for place in range(longest)]
        inverse = pow(_BASE, -1, 1 << 64)
        self._powers = np.append(_signed(powers), 0)
        self._inverses = np.append(
            _signed(pow(inverse, place, 1 << 64) for place in range(longest)), 0
        )

    def over(self, characters: Any, places: Any) -> Fingerprints:
        """Of a text of words.

        Args:
            characters: int32 [n].
            places: which of its word's each one is, from 0: int32 [n].
        """
        places = tf.minimum(places, len(self._powers) - 1)
        terms = tf.cast(characters + 1, tf.int64) * tf.gather(self._powers, places)
        sums = tf.concat([tf.zeros([1], tf.int64), tf.cumsum(terms)], 0)
        return Fingerprints(sums, places, self._inverses)

    def find(self, prints: Any) -> Any:
        """Ids, -1 of what isn't there: int32 of the shape of `prints`."""
        return self._table.lookup(prints)


@dataclass(frozen=True)
class Fingerprints:
    """Of all parts of one text."""

    sums: Any
    places: Any
    inverses: np.ndarray

    def of_words(self, begins: Any, ends: Any) -> Any:
        """Of whole words: int64 [n]."""
        return tf.gather(self.sums, ends) - tf.gather(self.sums, begins)

    def of_parts(self, begins: Any, ends: Any) -> Any:
        """Of parts of words, several from each beginning.

        Args:
            begins: int32 [n].
            ends: int32 [n, k].
        """
        places = tf.gather(self.places, begins)
        inner = tf.where(places > 0, _signed([_CONTINUES])[0], np.int64(0))
        sums = tf.gather(self.sums, ends) - tf.gather(self.sums, begins)[:, None]
        return sums * tf.gather(self.inverses, places)[:, None] + inner[:, None]


def fingerprint(points: np.ndarray) -> int:
    """Of one sequence that begins at place 0."""
    total = 0
    for place, each in enumerate(points.tolist()):
        total += (each + 1) * pow(_BASE, place, 1 << 64)
    return total & _MASK


def _signed(numbers: Iterable[int]) -> np.ndarray:
    """The same 64 bits as int64."""
    return np.array([each & _MASK for each in numbers], np.uint64).view(np.int64)
