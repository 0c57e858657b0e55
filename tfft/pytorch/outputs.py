"""What PyTorch's models say to given batches; see `tfft/conversion.py`.

python -m tfft.pytorch.outputs
{"folder": "model", "auto_class": "AutoModel", "batches": "inputs", "outputs": "outputs"}
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from tfft.errors import ModelError, first_line
from tfft.export.formats.latency import median_ms
from tfft.pytorch.backend import torch, transformers
from tfft.pytorch.children import Job, answer


def main(job: Job) -> Job:
    """Writes `outputs`: each of the model's by `<batch>/<name>`, float32.

    Args:
        job: `batches` has each input by `<batch>/<name>`; `timed` names those to be timed.

    Returns:
        `latency_ms`: of a warm call, by the names in `timed`;
        `missing` and `unexpected`: the tensors that the folder lacks, and those that the model has
        no place for; `parameters`: of each its names, several where it is tied.
    """
    try:
        model, info = getattr(transformers, job["auto_class"]).from_pretrained(
            job["folder"],
            torch_dtype=torch.float32,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            trust_remote_code=False,
        )
    except Exception as error:
        raise ModelError(f"PyTorch can't load {job['folder']}: {first_line(error)}") from error
    batches: dict[str, dict[str, Any]] = {}
    for place, each in load_file(job["batches"]).items():
        batch, _, name = place.partition("/")
        batches.setdefault(batch, {})[name] = torch.from_numpy(each)
    outputs = {}
    with torch.inference_mode():
        for batch, inputs in batches.items():
            for name, value in model.eval()(**inputs).items():
                if isinstance(value, torch.Tensor):
                    outputs[f"{batch}/{name}"] = np.ascontiguousarray(value.float().numpy())
        latency_ms = {
            name: median_ms(partial(model, **batches[name])) for name in job.get("timed", ())
        }
    save_file(outputs, job["outputs"])
    names: dict[int, list[str]] = {}
    for name, each in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(each), []).append(name)
    mismatched = [name for name, *_ in info["mismatched_keys"]]
    return {
        "latency_ms": latency_ms,
        "missing": sorted([*info["missing_keys"], *mismatched]),
        "unexpected": sorted(info["unexpected_keys"]),
        "parameters": list(names.values()),
    }


if __name__ == "__main__":
    answer(main)
