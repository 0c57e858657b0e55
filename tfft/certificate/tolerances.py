"""How far TensorFlow and PyTorch may be apart, and why just that far.

Both compute in float32, whose numbers are 6e-8 (half a unit in the last place) away from the exact
ones, and sum up in another order each. What is left beyond that is a difference of the programs.
"""

LOGITS = 1e-5
"""Of each logit of the first batch, absolute; of its loss too.

A few hundred roundings of 6e-8 on numbers of about 1: MiniLM has 1e-7, a random model of large
weights 3e-6, and another kind of gelu or
another epsilon of LayerNorm gives 1e-4 and more.
"""

GRADIENTS = 1e-4
"""Of each tensor's gradient, as a part of its largest number, beside GRADIENT_FLOOR.

A gradient goes through as many roundings again, and small ones are differences of large ones:
MiniLM's tensors agree to 7e-6, those of a random
model of large weights to 9e-6.
"""

GRADIENT_FLOOR = 1e-8
"""Of each number of a gradient, absolute: PyTorch's epsilon of Adam, below which little moves."""

EXACT_ZERO = 1e-9
"""A tensor's gradient is nought where float64 gives less than this part of the largest of all.

A softmax doesn't see what is added to all its inputs, so a bias of attention's keys has no
gradient; float64 has 1e-16 of the largest there, float32 1e-7 and a sign by chance.
"""

EXACT_ZERO_NOISE = 1e-5
"""Of a gradient that is nought, as a part of the largest of all, beside GRADIENT_FLOOR.

It is a sum of numbers as large as the other gradients', which cancel but for their roundings of
6e-8: a part of itself means nothing. A tiny random RoBERTa has 4e-7.
"""

PARAMETERS = 1e-5
"""Of each parameter after so many steps, absolute: a third of one step of Adam at rate 3e-5.

Adam divides a gradient by its own size, so where it is so small that rounding rules it, each step
may differ by a part of the rate. MiniLM has 1e-6 after 20 steps. Where a gradient is nought in
exact arithmetic, chance alone moves the tensor, each step by the rate at most, and nothing depends
on it: it may differ by two runs' whole way, 2 * steps * rate.
"""

LOSS = 1e-4
"""Of the loss of each of the first steps, absolute.

The logits' tolerance, and what parameters that differ within theirs add to it. Later the difference
grows by itself, as that of any two runs whose rounding differs, and is told, not judged.
"""

METRIC = 0.01
"""Of each metric on validation: the smallest difference that is ever read as one.

A row whose two logits are as good as equal may fall to either side.
"""
