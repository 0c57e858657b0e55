"""Dropout as a function of a seed, while a step of training is traced.

    with drawing_from(model, seed):             # int64 [2]
        logits = model(features, training=True).logits
    is_of_inputs(graph)                         # whether all of it was, and nothing else moves

Keras gives each dropout layer a generator, a variable that each call reads and moves on, and so has
TensorFlow run the calls one after the other. What a seed decides leaves no trace: a graph of it can
run twice at a time, with two seeds, and step 1,000 has the numbers that it has without the 999
before it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from tfft.backend import tf

# Operations that TensorFlow holds to have a state, and that only read one, or only check.
_READS = {"ReadVariableOp", "ResourceGather", "ResourceGatherNd", "Assert"}


@contextmanager
def drawing_from(model: Any, seed: Any) -> Iterator[None]:
    """In here the model's random layers draw from `seed`, each call other numbers.

    Out of it, and in Keras' own `fit`, they draw as Keras has it. So does a layer in here that is
    neither one of Keras' nor DeBERTa's.
    """
    numbers = itertools.count()

    def next_seed() -> Any:
        # A seed is scrambled before it is counted on from: neighbours have nothing in common.
        return seed + tf.constant([0, next(numbers)], seed.dtype)

    with ExitStack() as stack:
        for layer in model._flatten_layers():
            for holder, own in _sources(layer, next_seed):
                stack.enter_context(_with_own(holder, own))
        yield


def _sources(layer: Any, next_seed: Callable[[], Any]) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    """What of a layer draws, and the attributes with which it does so by seeds."""
    if hasattr(layer, "_random_generator"):  # of keras.layers
        yield (
            layer._random_generator,
            # Built: else it would make itself a variable, or go without one for ever.
            {"_rng_type": "stateless", "_built": True, "make_seed_for_stateless_op": next_seed},
        )
    if hasattr(layer, "xdropout"):  # DeBERTa's, which draws from no generator at all
        yield (
            layer,
            {
                "xdropout": lambda inputs: tf.nn.experimental.stateless_dropout(
                    inputs, layer.drop_prob, next_seed()
                )
            },
        )


@contextmanager
def _with_own(holder: Any, own: Mapping[str, Any]) -> Iterator[None]:
    """In here `holder` has these attributes; Keras, which tracks what is set, isn't told."""
    attributes = vars(holder)
    before = {name: attributes[name] for name in own if name in attributes}
    attributes.update(own)
    try:
        yield
    finally:
        for name in own:
            del attributes[name]
        attributes.update(before)


def is_of_inputs(graph: Any) -> bool:
    """Whether a traced graph gives what its inputs and the variables decide, and changes nothing.

    Then calls of it may run at a time, in any order. A graph that has others in it (a loop) is
    taken for one that does more.
    """
    return all(each.type in _READS for each in graph.get_operations() if each.op_def.is_stateful)
