"""Every path side by side: one child each, all alive, one at work, taking turns.

    settings = Settings(data=("builtin/acceptability",), n_rows=1000, rounds=3)
    document = compare(settings, work=Path("work"), tell=print)
    markdown(document)

A round is one turn of every path, so that a slow minute of the machine hits all of them; ratios are
taken within a round. A path that fails has its reason in the table, and the others go on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.data import Rows, write_rows
from benchmarks.machine import about, n_cores, version_of
from benchmarks.paths import ENVIRON, PATHS
from benchmarks.processes import Child, ChildError

Tell = Callable[[str], None]
# What the tutorial, its PyTorch half and Trainer's default of 5e-5 come near to; one for all.
LEARNING_RATE = 3e-5
# Under this part of a core a path that stands still costs the others nothing that shows.
IDLE_CPU_LIMIT = 0.05


@dataclass(frozen=True)
class Settings:
    """What is compared.

    Attributes:
        n_rows, n_validation: at most; None takes all.
        starts: processes a path whose time to the first step is taken.
        max_length: tokens a text.
        model: as `tfft fit --model` takes it.
        against: the path that ratios are of.
        metric, quality: the validation figure, and the value that "seconds to" waits for.
        threads: of each framework; None tries some and takes the best.
        kerashub: a Python that has keras-hub.
        budget_s: seconds for all of it: nothing new is started when 70 % of them are gone.
        train_on: how many of the data sets are trained on, the first ones; None takes all. The
            others have their input pipeline measured.
    """

    data: tuple[str, ...]
    paths: tuple[str, ...] = tuple(PATHS)
    n_rows: int | None = None
    n_validation: int | None = None
    rounds: int = 3
    starts: int = 1
    batch_size: int = 16
    max_length: int = 256
    model: str = "builtin/minilm"
    against: str = "tfft-bucketed"
    metric: str = "matthews_correlation"
    quality: float = 0.25
    seed: int = 42
    threads: int | None = None
    kerashub: str | None = None
    input_s: float = 1.0
    budget_s: float | None = None
    train_on: int | None = None

    def rows(self, work: Path) -> Iterator[tuple[Rows, Path]]:
        """Each data set's rows as files, and the folder for what else belongs to it."""
        for number, source in enumerate(self.data):
            folder = work / f"data-{number}"
            rows = write_rows(
                source,
                folder / "rows",
                n_train=self.n_rows,
                n_validation=self.n_validation,
                seed=self.seed,
            )
            yield rows, folder


@dataclass
class Measured:
    """One path's figures on one data set; lists are by round.

    Attributes:
        why_not: why there are none.
        starts: seconds from the start of the work to the end of the first step, imports left out.
        fits: the same from the call that trains.
        agains: as `starts`, of a process that comes after one with the same data: tfft alone.
        epochs: seconds a whole epoch with its evaluation; the first one isn't among them.
        first_epoch: seconds of the first epoch after its first step.
        waits: the part of the training steps' time in which a batch was waited for.
        metrics: the validation metric, the first epoch's first.
        about: `body_size`, `train_tokens`, `validation_tokens`.
    """

    why_not: str | None = None
    starts: list[float] = field(default_factory=list)
    fits: list[float] = field(default_factory=list)
    agains: list[float] = field(default_factory=list)
    stages: list[Any] = field(default_factory=list)
    stages_again: list[Any] = field(default_factory=list)
    epochs: list[float] = field(default_factory=list)
    first_epoch: float | None = None
    waits: list[float] = field(default_factory=list)
    metrics: list[Mapping[str, float]] = field(default_factory=list)
    idle_cpu: float = 0.0
    peak_mib: float = 0.0
    anonymous_mib: float = 0.0
    gpu_peak_mib: float | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    def heard(self, told: Mapping[str, Any]) -> None:
        self.idle_cpu = max(self.idle_cpu, told["idle_cpu"])
        self.peak_mib = max(self.peak_mib, told["peak"])
        self.gpu_peak_mib = told.get("gpu_peak", self.gpu_peak_mib)


class Clock:
    """Says when there is no time left to start something new, and when to give up.

    Attributes:
        deadline: on the monotonic clock; None where time is no matter.
    """

    def __init__(self, budget_s: float | None) -> None:
        self.deadline = None if budget_s is None else time.monotonic() + budget_s
        self._starts_end = None if budget_s is None else time.monotonic() + 0.7 * budget_s

    @property
    def is_over(self) -> bool:
        return self._starts_end is not None and time.monotonic() > self._starts_end


def compare(settings: Settings, *, work: Path, tell: Tell) -> dict[str, Any]:
    """Measures, and returns what bench.json holds.

    Raises:
        TfftError: the data or the model can't be had.
    """
    from tfft.pretrained import open_checkpoint
    from tfft.tasks import TASKS

    model = str(open_checkpoint(settings.model, TASKS["single_label"]).folder)
    clock = Clock(settings.budget_s)
    machine, started = about(), time.monotonic()
    tell("probing the machine")
    probe = probe_machine(settings, work, clock, tell)
    document: dict[str, Any] = {
        "machine": machine,
        "settings": asdict(settings),
        "probe": probe,
        "data": {},
    }
    for number, (rows, folder) in enumerate(settings.rows(work)):
        tell(f"{rows.name}: {rows.n_train:,} rows, {rows.n_validation:,} for validation")
        bench = Bench(settings, rows, model, probe["threads"], folder, clock, tell)
        inputs = bench.input_alone()
        trains = settings.train_on is None or number < settings.train_on
        paths = {name: asdict(each) for name, each in bench.training().items()} if trains else {}
        document["data"][rows.name] = {"rows": rows.to_json(), "input": inputs, "paths": paths}
    document["seconds"] = time.monotonic() - started
    return document


@dataclass(frozen=True)
class Bench:
    """The measurements on one data set."""

    settings: Settings
    rows: Rows
    model: str
    threads: Mapping[str, int | None]
    work: Path
    clock: Clock
    tell: Tell

    def input_alone(self) -> dict[str, Any]:
        """Examples a second of batches that nobody trains on: loader -> a figure a round."""
        rates: dict[str, list[float]] = {}
        tokens: dict[str, Any] = {}
        with ExitStack() as stack:
            children: dict[str, Child] = {}
            for framework, case in (("tensorflow", "input_tf"), ("torch", "input_torch")):
                wanted = [p for p in self.settings.paths if PATHS[p].framework == framework]
                if not wanted or version_of(framework) is None or self.clock.is_over:
                    continue
                job = self._job() | {"at_least_s": self.settings.input_s}
                child = stack.enter_context(self._start(case, framework, job, case))
                try:
                    told = child.hear()
                except ChildError as error:
                    self.tell(f"  input, {framework}: {error}")
                    continue
                tokens |= told["tokens"]
                children |= dict.fromkeys(told["names"], child)
            for number in range(self.settings.rounds):
                for name in _turned(list(children), number):
                    try:
                        rates.setdefault(name, []).append(children[name].ask(go=name)["rate"])
                    except ChildError as error:
                        self.tell(f"  input, {name}: {error}")
                        del children[name]
        rates = {name: each for name, each in rates.items() if each}
        for name, each in rates.items():
            self.tell(f"  input alone, {name}: {sorted(each)[len(each) // 2]:,.0f} examples/s")
        return {name: {"rates": each, "tokens": tokens[name]} for name, each in rates.items()}

    def training(self) -> dict[str, Measured]:
        """Every path's start and epochs."""
        measured = {name: Measured() for name in self.settings.paths}
        with ExitStack() as stack:
            alive = self._starts(measured, stack)
            for number in range(self.settings.rounds + 1):
                # The first round is each path's first epoch: it counts for quality alone. The last
                # one to go is the first of the next round, so that none always follows the same.
                for name in _turned(list(alive), number):
                    if self.clock.is_over and number > 1:
                        continue
                    self._epoch(name, alive, measured[name], is_first=number == 0)
            for name, child in alive.items():
                measured[name].anonymous_mib = child.peak_anonymous
        for name, each in measured.items():
            if not each.epochs and each.why_not is None:
                each.why_not = "left out: no time left"
            if each.idle_cpu > IDLE_CPU_LIMIT:
                self.tell(f"  {name}: used {each.idle_cpu:.0%} of a core while others worked")
        return measured

    def _starts(self, measured: Mapping[str, Measured], stack: ExitStack) -> dict[str, Child]:
        """Each path's first step, in processes of its own; the last of them lives on."""
        alive: dict[str, Child] = {}
        for number in range(self.settings.starts):
            for name in _turned(list(measured), number):
                mine = measured[name]
                if mine.why_not is None and (why_not := self._why_not(name)):
                    mine.why_not = why_not
                    self.tell(f"  {name}: {why_not}")
                if mine.why_not:
                    continue
                try:
                    child = stack.enter_context(self._start_path(name, f"{name}-{number}"))
                    told = child.hear()
                    mine.heard(told)
                    mine.starts.append(told["seconds"])
                    mine.fits.append(told["fit_seconds"])
                    mine.stages = told.get("stages", [])
                    mine.about = {key: told[key] for key in COUNTS}
                    self.tell(f"  {name}: {told['seconds']:.1f} s to the end of the first step")
                    if name == self.settings.against and not self.clock.is_over:
                        self._again(name, mine, number)
                except ChildError as error:
                    mine.why_not = str(error)
                    self.tell(f"  {name}: {error}")
                    continue
                if number == self.settings.starts - 1:
                    alive[name] = child
                else:
                    child.close()
        return alive

    def _again(self, name: str, measured: Measured, number: int) -> None:
        """A second fit on the same data, with what the first left in the cache."""
        with self._start_path(name, f"{name}-{number}") as child:
            told = child.hear()
            measured.agains.append(told["seconds"])
            measured.stages_again = told.get("stages", [])
            self.tell(f"  {name}, again: {told['seconds']:.1f} s")

    def _epoch(
        self, name: str, alive: dict[str, Child], measured: Measured, *, is_first: bool
    ) -> None:
        try:
            told = alive[name].ask(go="on")
        except ChildError as error:
            measured.why_not = str(error)
            alive.pop(name).close()
            self.tell(f"  {name}: {error}")
            return
        measured.heard(told)
        measured.metrics.append(told["metrics"])
        if is_first:
            measured.first_epoch = told["seconds"]
        else:
            measured.epochs.append(told["seconds"])
            if "waits" in told:
                measured.waits.append(told["waits"])
        self.tell(f"  {name}: an epoch in {told['seconds']:.1f} s")

    def _why_not(self, name: str) -> str | None:
        path = PATHS[name]
        if self.clock.is_over:
            return "left out: no time left"
        if path.framework == "torch":
            missing = [each for each in ("torch", "accelerate") if version_of(each) is None]
            if missing and (path.case == "fit_trainer" or "torch" in missing):
                return f"{' and '.join(missing)} not installed: pip install tfft[torch]"
        if path.framework == "keras-hub" and self.settings.kerashub is None:
            return "not installed: --kerashub names a Python that has it"
        return None

    def _start_path(self, name: str, cache: str) -> Child:
        path = PATHS[name]
        job = {**self._job(), **path.settings}
        python = None
        if path.framework == "keras-hub":
            python, tokens = self.settings.kerashub, str(self.work / "tokens.npz")
            with self._start("tokens", "tensorflow", job | {"tokens": tokens}, "tokens") as child:
                job |= {"tokens": tokens, "sizes": child.hear()["sizes"]}
        return self._start(path.case, path.framework, job, name, cache=cache, python=python)

    def _start(
        self,
        case: str,
        framework: str,
        job: Mapping[str, Any],
        name: str,
        *,
        cache: str | None = None,
        python: str | None = None,
    ) -> Child:
        # tfft chooses its own threads, unless they were asked for.
        is_own = case == "fit_tfft" and self.settings.threads is None
        chosen: Mapping[str, int | None] = {} if is_own else self.threads
        environ = environ_of(framework, chosen, self.work / "caches" / (cache or name))
        threads = {"threads": chosen.get(framework)}
        more = {} if python is None else {"python": python}
        log = self.work / f"{name}.log"
        return Child.start(
            case,
            {**job, **threads},
            log=log,
            environ=environ,
            deadline=self.clock.deadline,
            **more,
        )

    def _job(self) -> dict[str, Any]:
        return {
            "data": self.rows.folder,
            "model": self.model,
            "n_labels": self.rows.n_labels,
            "batch_size": self.settings.batch_size,
            "max_length": self.settings.max_length,
            "epochs": self.settings.rounds + 1,
            "learning_rate": LEARNING_RATE,
            "seed": self.settings.seed,
        }


COUNTS = ("body_size", "train_tokens", "validation_tokens")


def environ_of(framework: str, threads: Mapping[str, int | None], cache: Path) -> dict[str, str]:
    """A child's environment: its framework alone, its threads, and caches that start empty."""
    hub = os.environ.get("HF_HOME") or os.path.expanduser(
        os.path.join(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "huggingface")
    )
    environ = {
        **ENVIRON[framework],
        "HF_HOME": hub,  # models stay where they are
        "HF_DATASETS_CACHE": str(cache / "datasets"),
        "XDG_CACHE_HOME": str(cache),
        "TFFT_CACHE": str(cache / "tfft"),
    }
    n_threads = threads.get(framework)
    if n_threads and framework == "torch":
        environ["OMP_NUM_THREADS"] = str(n_threads)
    elif n_threads:
        environ |= {"TF_NUM_INTRAOP_THREADS": str(n_threads)}
    return environ


def probe_machine(settings: Settings, work: Path, clock: Clock, tell: Tell) -> dict[str, Any]:
    """Each framework's best number of threads (None: its default), and the matrix product's peak.

    The product is of float32 squares, the shortest of several runs in every setting.
    """
    on_gpu = bool(about()["gpus"])
    tried: dict[str, dict[str, Any]] = {}
    for framework, case in (("tensorflow", "probe_tf"), ("torch", "probe_torch")):
        if version_of(framework) is None:
            continue
        for number in _thread_settings(framework, settings):
            name = "default" if number is None else str(number)
            threads = {framework: number}
            job = {"size": 8192 if on_gpu else 1536, "threads": number}
            environ = environ_of(framework, threads, work / "caches" / "probe")
            log = work / f"{case}-{name}.log"
            with Child.start(case, job, log=log, environ=environ, deadline=clock.deadline) as child:
                try:
                    told = [child.hear(), child.ask(go="on")]
                except ChildError as error:
                    tell(f"  {framework}, {name} threads: {error}")
                    continue
            tried.setdefault(framework, {})[name] = {
                key: max(each[key] for each in told) for key in ("gflops", "layers_per_s")
            }
    best = {
        framework: max(each, key=lambda name: each[name]["layers_per_s"])
        for framework, each in tried.items()
    }
    peak = max((f["gflops"] for each in tried.values() for f in each.values()), default=None)
    return {
        "threads": {name: None if each == "default" else int(each) for name, each in best.items()},
        "peak_gflops": peak,
        "tried": tried,
    }


def _thread_settings(framework: str, settings: Settings) -> Iterator[int | None]:
    trains = settings.train_on != 0
    if settings.threads is not None or settings.budget_s is not None or not trains:
        yield settings.threads
        return
    yield None
    cores = n_cores()
    if framework == "tensorflow":
        yield from sorted({1, cores})
    else:
        yield from sorted({2**power for power in range(cores.bit_length())} | {cores})


def _turned(names: Sequence[str], by: int) -> list[str]:
    """The names, beginning with another one each time."""
    start = by % len(names) if names else 0
    return [*names[start:], *names[:start]]
