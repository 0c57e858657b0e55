"""The data's label names beside a checkpoint's: the same labels in another order or spelling.

    names, note = align(("0", "1"), ("NEGATIVE", "POSITIVE"))
    names       # ("0", "1"): what the data calls each of the model's ids
    note        # "labels: the data's numbers are taken for the model's ids (0 is NEGATIVE, ...)"

Nothing is matched by position where names can tell.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tfft.errors import DataError, listed

# What transformers calls a class that nobody named.
_UNNAMED = re.compile(r"LABEL_\d+")


def are_unnamed(names: Sequence[str]) -> bool:
    return all(_UNNAMED.fullmatch(name) for name in names)


def align(
    found: Sequence[str], learned: Sequence[str], *, are_all: bool, where: str
) -> tuple[tuple[str, ...], str | None]:
    """What the data calls each of the model's ids, and what there is to say about it.

    Args:
        found: the data's names, in the data's order.
        learned: the model's, by id.
        are_all: whether `found` is the data's whole list, rather than the values that occur.

    Raises:
        DataError: the model names no label, and the data has another number of them.
    """
    if set(found) <= set(learned):
        return tuple(learned), _other_order(found, learned) if are_all else None
    if are_unnamed(learned):
        return _by_position(found, learned, where=where)
    if (names := respelled(found, learned)) is not None:
        return names, (
            f"labels: matched by name, whatever the case: the model's {listed(learned)} are the "
            f"data's {listed(names)}"
        )
    ids = {str(number): name for number, name in enumerate(learned)}
    if set(found) <= ids.keys() and not any(name.isdigit() for name in learned):
        told = listed(f"{number} is {name}" for number, name in ids.items())
        return tuple(ids), f"labels: the data's numbers are taken for the model's ids ({told})"
    return tuple(learned), None  # the label that isn't known is told with its row


def respelled(found: Sequence[str], learned: Sequence[str]) -> tuple[str, ...] | None:
    """The model's names as the data spells them, whatever the case; None where others are found."""
    spelled = {name.casefold(): name for name in found}
    known = {name.casefold() for name in learned}
    if spelled.keys() <= known and len(spelled) == len(found) and len(known) == len(learned):
        return tuple(spelled.get(name.casefold(), name) for name in learned)
    return None


def _by_position(
    found: Sequence[str], learned: Sequence[str], *, where: str
) -> tuple[tuple[str, ...], str]:
    ids = tuple(str(number) for number in range(len(learned)))
    if set(found) <= set(ids):
        found = ids
    if len(found) != len(learned):
        raise DataError(
            f"{where}: the data has {len(found)} classes ({listed(found)}), the model "
            f"{len(learned)} without names"
        )
    return tuple(found), (
        f"labels: the model names none; {listed(found)} are taken for its ids in order"
    )


def _other_order(found: Sequence[str], learned: Sequence[str]) -> str | None:
    if tuple(found) == tuple(name for name in learned if name in set(found)):
        return None
    return (
        f"labels: matched by name: the model orders them {listed(learned)}, the data "
        f"{listed(found)}"
    )
