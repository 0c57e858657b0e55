"""What a trained model is handed over as: a SavedModel that takes raw text, and what proves it.

`assemble` makes a version of a bundle: `tokenizer` goes into the graph once `identity` has proved
it; `signatures`, `warmup` and `readme` are what a server and its users find, `bundle` is where it
lies, and `check` has a clean process compare it with the live model.
"""
