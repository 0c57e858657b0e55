"""The other formats: PyTorch, ONNX and TFLite, and small weights for the SavedModel.

    check = produce("onnx", live, Path("out.partial"), batches)

`live` is what each needs of the model; a module a format writes and reads it; `produce` has them
by name and compares. They take tokens: the tokenizer's files lie beside.
"""
