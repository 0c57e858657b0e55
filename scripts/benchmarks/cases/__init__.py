"""One file for what runs in a child; each has a `run(job, turn)`, called by `worker.py`.

TensorFlow's cases and PyTorch's never meet in one process.
"""
