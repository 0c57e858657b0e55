"""What PyTorch makes of this machine, as `probe_tf.py` asks TensorFlow."""

from __future__ import annotations

from typing import Any

from benchmarks.cases.fit_torch import set_threads
from benchmarks.cases.probe_tf import answer
from benchmarks.worker import Job, Turn


def run(job: Job, turn: Turn) -> None:
    import torch

    set_threads(job)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    size = job["size"]
    left, right = torch.randn(size, size, device=device), torch.randn(size, size, device=device)
    weights = [
        (0.02 * torch.randn(shape, device=device)).requires_grad_()
        for _ in range(6)
        for shape in ((384, 1536), (1536, 384))
    ]
    inputs = torch.randn(16 * 32, 384, device=device)

    def layers() -> Any:
        hidden = inputs
        for up, down in zip(weights[::2], weights[1::2], strict=True):
            hidden = hidden + torch.nn.functional.gelu(hidden @ up) @ down
        return [float(each.sum()) for each in torch.autograd.grad(hidden.sum(), weights)]

    answer(turn, size, lambda: float(torch.mm(left, right).sum()), layers)
