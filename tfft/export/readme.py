"""What lies beside the versions for whoever serves them: README.md and batching_parameters.txt.

readme(about)       # Markdown: what goes in, what comes out, a line of curl
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from tfft.export.signatures import TEXT_SIGNATURE
from tfft.results import FormatCheck

_EXAMPLES = {"text": "The lawyers often sleep.", "text_pair": "Lawyers sleep."}

# In TensorFlow Serving's own names, of its session_bundle_config.proto.
BATCHING = """\
# For tensorflow_model_server --enable_batching --batching_parameters_file=batching_parameters.txt
# Requests of any length go into one batch: texts are padded in the graph, tokens by the server.
max_batch_size { value: 32 }
batch_timeout_micros { value: 1000 }
max_enqueued_batches { value: 100 }
pad_variable_length_inputs: true
"""


@dataclass(frozen=True)
class About:
    """What README.md tells.

    Attributes:
        name: the bundle's, as a server calls the model.
        signatures: inputs and outputs by name, as the clean process found them.
        labels: by the column of `scores`; empty of regression.
        why_no_text: why there is no signature for texts; None where there is one.
        small: what small weights it has, and what they cost; None of float32.
    """

    name: str
    source: str
    version: int
    task: str
    labels: Sequence[str]
    max_length: int
    threshold: float | None
    signatures: Mapping[str, Mapping[str, Any]]
    why_no_text: str | None
    small: FormatCheck | None


def readme(about: About) -> str:
    """The page, as Markdown."""
    parts = [
        f"# {about.name}\n\nVersion {about.version}, exported by tfft from `{about.source}`; task "
        f"`{about.task}`. `check.json` has what was compared before it was handed over.",
        _small(about),
        _call(about),
        _contract(about),
        _labels(about),
        "## Serving\n\nAny TensorFlow Serving loads it, with no custom op:\n\n"
        "```sh\ndocker run -p 8501:8501 -e TF_ENABLE_ONEDNN_OPTS=1 "
        f'-v "$PWD":{_in_a_shell(f"/models/{about.name}")} '
        f"-e MODEL_NAME={_in_a_shell(about.name)} tensorflow/serving\n```\n\n"
        "`batching_parameters.txt` is for `--enable_batching --batching_parameters_file`.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _small(about: About) -> str:
    """What small weights change, which whoever serves has to know of."""
    if about.small is None:
        return ""
    told = (
        f"Its weights are {about.small.quantize}: logits differ by up to "
        f"{about.small.largest_difference:.2g} from the model's with float32"
    )
    changes = [
        f"{name} {before:.4f} -> {about.small.metrics[name]:.4f}"
        for name, before in about.small.live_metrics.items()
    ]
    return f"{told}; on the validation texts {', '.join(changes)}." if changes else f"{told}."


def _call(about: About) -> str:
    url = f"http://localhost:8501/v1/models/{quote(about.name)}:predict"
    if about.why_no_text is None:
        inputs = about.signatures[TEXT_SIGNATURE]["inputs"]
        body: dict[str, Any] = {"instances": [{name: _EXAMPLES[name] for name in inputs}]}
    else:
        row = {name: [1, 1, 1] for name in about.signatures["tokens"]["inputs"]}
        body = {"signature_name": "tokens", "instances": [row]}
    return f"```sh\ncurl -d '{json.dumps(body)}' {url}\n```"


def _contract(about: About) -> str:
    lines = ["## What goes in, and what comes out\n", "| signature | takes | gives |"]
    lines.append("| --- | --- | --- |")
    for name, told in about.signatures.items():
        takes, gives = (_specs(told[side]) for side in ("inputs", "outputs"))
        lines.append(f"| `{name}` | {takes} | {gives} |")
    lines.append("")
    if about.why_no_text is None:
        lines.append(
            f"Texts are UTF-8; those of more than {about.max_length} tokens are cut there. What "
            "isn't UTF-8 counts as U+FFFD. An empty batch has an empty answer."
        )
    else:
        lines.append(
            f"There is no signature for texts ({about.why_no_text}): tokenise them with the "
            f"checkpoint's own tokenizer, to at most {about.max_length} tokens."
        )
    return "\n".join(lines)


def _specs(specs: Mapping[str, Any]) -> str:
    def shape(sizes: Sequence[int | None]) -> str:
        names = iter(("batch", "length"))
        return ", ".join(next(names) if size is None else str(size) for size in sizes)

    return ", ".join(f"`{name}` {kind} [{shape(sizes)}]" for name, (kind, sizes) in specs.items())


def _labels(about: About) -> str:
    if not about.labels:
        return "`value` is the number that the model learned to give."
    listed = "\n".join(f"{place}. `{_one_line(name)}`" for place, name in enumerate(about.labels))
    told = "`label` is the likeliest one, and `scores` sum up to 1."
    if about.task == "multi_label":
        told = (
            f"`label` is a JSON list of those whose score is {about.threshold:g} or more; the "
            "scores are independent."
        )
    return f"## Labels\n\nIn the order of `scores`, as in `labels.json`:\n\n{listed}\n\n{told}"


def _in_a_shell(text: str) -> str:
    return shlex.quote(_one_line(text))


def _one_line(name: str) -> str:
    return " ".join(name.replace("`", "'").split())
