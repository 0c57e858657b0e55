"""A saved model -> a version of a bundle, checked before it gets its name.

with Place.claim(Path("bundle"), version=None) as place:
    result = assemble(saved, place, config, asked, progress=progress)
"""

from __future__ import annotations

from typing import Any

from tfft import served
from tfft.config import ExportConfig, RunConfig
from tfft.distribute import Devices
from tfft.errors import ExportError, first_line
from tfft.export.bundle import CHECK, Place
from tfft.export.check import check, tolerance_of
from tfft.export.formats.smaller import Small, smaller
from tfft.export.identity import prove
from tfft.export.live import Live, ask
from tfft.export.readme import BATCHING, About, readme
from tfft.export.signatures import TEXT_SIGNATURE, TOKEN_SIGNATURES, Servable
from tfft.export.texts import Texts, read_texts
from tfft.export.tokenizer import open_tokenizer
from tfft.export.warmup import EXTRAS, requests, write_warmup
from tfft.folders import as_json
from tfft.metrics import THRESHOLD
from tfft.progress import Progress
from tfft.results import ExportResult
from tfft.served import Saved

LABELS = "labels.json"


def assemble(
    saved: Saved,
    place: Place,
    config: RunConfig,
    asked: ExportConfig,
    *,
    devices: Devices,
    progress: Progress,
) -> ExportResult:
    """Proves the tokenizer, saves, has a clean process check it, and gives the version its name.

    Raises:
        ExportError: the tokenizer in the graph, or what was saved, isn't the live model's.
    """
    place.need(2 * saved.checkpoint.n_bytes)
    texts = read_texts(saved, config, asked, progress)
    tokenizer, identity, why_no_text = _tokenizer(saved, texts, progress)
    loaded = served.build(saved, devices, progress)
    small: Small | None = None
    if asked.quantize is not None:
        progress.stage(f"making the weights {asked.quantize}")
        small = smaller(saved, loaded, texts, asked.quantize)
    apart = small.apart if small else 0.0
    progress.stage("asking the live model")
    live = ask(saved, loaded, texts.compared, devices=devices, progress=progress, apart=apart)

    progress.stage("saving")
    threshold = None
    if saved.task.name == "multi_label":
        threshold = THRESHOLD if saved.threshold is None else saved.threshold
    servable = Servable(
        small.model if small else loaded.model,
        saved.task,
        label_names=saved.learned.label_names,
        features=list(live.tokens),
        tokenizer=tokenizer,
        n_texts=texts.n_texts,
        most_tokens=saved.checkpoint.most_tokens,
        threshold=threshold,
    )
    names = [*([] if tokenizer is None else [TEXT_SIGNATURE]), *TOKEN_SIGNATURES]
    labels = [] if saved.task.name == "regression" else list(saved.learned.label_names)
    _save(servable, place, live, names, labels)

    progress.stage("checking it in a clean process")
    found = check(place.saved_model, live, signatures=names, apart=apart)
    result = ExportResult(
        source=saved.name,
        version=place.version,
        task=saved.task.name,
        labels=tuple(labels),
        max_length=saved.max_length,
        threshold=threshold,
        why_no_text=why_no_text,
        tokenizer=identity,
        data=texts.data,
        tolerance=tolerance_of(live, apart),
        n_bytes=place.n_bytes,
        found=found,
        small=small.check if small else None,
        output=place.bundle,
    )
    place.finish(_files(result, place.bundle.name))
    return result


def _tokenizer(
    saved: Saved, texts: Texts, progress: Progress
) -> tuple[Any, dict[str, int] | None, str | None]:
    """The tokenizer as a graph and how many texts it was proved with; or why there is none.

    Raises:
        ExportError: it gives other tokens than the live one.
    """
    progress.stage("putting the tokenizer into the graph")
    try:
        graph = open_tokenizer(saved.tokenizer, max_length=saved.max_length)
    except ExportError as error:
        progress.waiting(
            f"tokenizer: {error}; the bundle takes tokens alone, so that its clients tokenise"
        )
        return None, None, str(error)
    progress.stage("proving that its tokens are the tokenizer's")
    counts: dict[str, int] = {}
    parts = {"made_up": texts.fuzz, "train": texts.train, "validation": texts.validation}
    for name, columns in parts.items():
        if not columns:
            continue
        proof = prove(
            graph,
            saved.tokenizer,
            *columns.values(),
            max_length=saved.max_length,
            every_code_point=not counts,
        )
        counts[f"n_{name}"] = proof.n_texts
        if proof.n_code_points:
            counts["n_code_points"] = proof.n_code_points
    return graph, counts, None


def _save(
    servable: Servable,
    place: Place,
    live: Live,
    names: list[str],
    labels: list[str],
) -> None:
    """Writes the SavedModel and what lies in its `assets.extra`.

    Raises:
        ExportError: TensorFlow can't, where the disk is full for one.
    """
    folder = place.saved_model
    try:
        servable.save(folder)
        write_warmup(folder, requests(live, names), model_name=place.bundle.name)
    except OSError:
        raise
    except Exception as error:
        raise ExportError(f"the SavedModel can't be written: {first_line(error)}") from error
    (folder / EXTRAS / LABELS).write_text(as_json(labels), encoding="utf-8")


def _files(result: ExportResult, name: str) -> dict[str, str]:
    """The bundle's own files, by name."""
    about = About(
        name=name,
        source=result.source,
        version=result.version,
        task=result.task,
        labels=result.labels,
        max_length=result.max_length,
        threshold=result.threshold,
        signatures=result.found["signatures"],
        why_no_text=result.why_no_text,
        small=result.small,
    )
    return {
        "README.md": readme(about),
        LABELS: as_json(list(result.labels)),
        "batching_parameters.txt": BATCHING,
        CHECK: as_json(result.to_json()),
    }
