"""A SavedModel that takes raw text, in core TensorFlow ops alone, proved before it is handed over.

`assemble` makes a version of a bundle; `signatures`, `warmup` and `readme` are what is in it,
`bundle` where it lies, and `check` has a clean process compare it with the live model.
"""
