"""TensorFlow against PyTorch: the same start and the same batches through both, compared.

    result = certify(config, asked, progress)       # a ParityResult

`jobs` says what is recorded, `recordings` how, whichever framework it is; `tensorflow` is the one
framework and `tfft.pytorch.recorder`, in a child process, the other; `compare` sets the two
recordings side by side.
"""
