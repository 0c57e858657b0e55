"""What is searched: `--learning-rate 1e-6:1e-3 --space train.batch_size=8,16,32`.

    dimensions, fixed = parse_spaces(asked)     # what varies, and what is one value only
    dimensions[0].value(code)                   # what an oracle's number stands for
    config_with(config, {"learning_rate": 3.16e-5})

An oracle gets the place of a value in a list, and of a range the number itself, which is rounded to
four digits: so it reads well, and survives Keras Tuner's protocol, which has 32 bits for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, product
from typing import Any

from tfft.config import (
    TUNABLE,
    About,
    RunConfig,
    TuneConfig,
    option_names,
    options_of,
    parse_assignment,
)
from tfft.errors import ConfigError, listed, nearest
from tfft.progress import values_text

# What a range becomes for the oracle that tries everything.
GRID_VALUES = 5
DIGITS = 4
# Options that make sense by their orders of magnitude; the others go by :log.
_BY_LOGARITHM = ("learning_rate", "epsilon")
# Of the combinations of ends, so many are looked at for a contradiction.
_MOST_CHECKED = 256


@dataclass(frozen=True)
class Dimension:
    """One option, and what it may be.

    Attributes:
        name: the option's.
        values: of a list; a range has none.
        low, high: of a range, included.
        log: whether a range goes by the logarithm.
        whole: whether its values are whole numbers.
    """

    name: str
    values: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False

    def value(self, code: Any) -> Any:
        """Of what an oracle chose."""
        if self.values:
            return self.values[int(code)]
        return round(code) if self.whole else float(f"{code:.{DIGITS}g}")

    @property
    def ends(self) -> tuple[Any, ...]:
        return self.values or (self.value(self.low), self.value(self.high))

    def gridded(self) -> Dimension:
        """The range as a list, its ends included."""
        if self.values:
            return self
        parts = [place / (GRID_VALUES - 1) for place in range(GRID_VALUES)]
        if self.log:
            codes = [self.low * (self.high / self.low) ** part for part in parts]
        else:
            codes = [self.low + (self.high - self.low) * part for part in parts]
        values = tuple(dict.fromkeys(self.value(code) for code in codes))
        return replace(self, values=values, low=0.0, high=0.0)

    def narrowed(self, low: float, high: float) -> Dimension:
        """The part of the range between the two, which holds one of them."""
        return replace(self, low=max(low, self.low), high=min(high, self.high))


def parse_spaces(asked: TuneConfig) -> tuple[tuple[Dimension, ...], dict[str, Any]]:
    """The dimensions of a search, and the options that were given one value.

    Raises:
        ConfigError: an option that isn't there or can't be searched, or not a list or range of its
            values; there is nothing to search.
    """
    parsed = [_parse("learning_rate", "train.learning_rate", asked.learning_rate)]
    for text in asked.space:
        place, equals, values = (part.strip() for part in text.partition("="))
        if not equals or not values:
            raise ConfigError(
                f"space '{text}' is not of the form section.option=a,b,c or "
                "section.option=low:high",
                options=["space"],
            )
        parsed.append(_parse("space", _tunable(place), values))
    names = [each.name for each in parsed]
    if twice := next((name for name in names if names.count(name) > 1), None):
        how = "--learning-rate" if twice == "learning_rate" else "one --space"
        raise ConfigError(f"{twice} is given twice; {how} says what it may be", options=["space"])
    fixed = {each.name: each.values[0] for each in parsed if len(each.values) == 1}
    dimensions = tuple(each for each in parsed if each.name not in fixed)
    if not dimensions and asked.tuner != "range":
        raise ConfigError(
            "there is nothing to search: every option has one value; give --learning-rate LOW:HIGH",
            options=["learning_rate", "space"],
        )
    if asked.tuner == "range" or asked.from_range:
        rate = parsed[0]
        if rate.values:
            raise ConfigError(
                f"the range test needs --learning-rate LOW:HIGH, not {asked.learning_rate!r}",
                options=["learning_rate"],
            )
    return dimensions, fixed


def _tunable(place: str) -> str:
    if place in TUNABLE:
        return place
    known = option_names()
    place_of_name = known.get(place)
    if place_of_name in TUNABLE:
        raise ConfigError(
            f"space names an option by its section: {place_of_name}, not {place}", options=["space"]
        )
    if place in known.values():
        raise ConfigError(
            f"{place} can't be searched; there are {listed(TUNABLE, most=20)}", options=["space"]
        )
    raise ConfigError(
        f"unknown option '{place}'{nearest(place, TUNABLE)}; there are {listed(TUNABLE, most=20)}",
        options=["space"],
    )


def _parse(option: str, place: str, text: str) -> Dimension:
    section, _, name = place.partition(".")
    about = options_of(section)[name]

    def refuse(why: str) -> ConfigError:
        return ConfigError(f"{name} {why}", options=[option])

    parts = [part.strip() for part in text.split(":")]
    if about.type is str or len(parts) == 1:
        values = [_value(place, about, part.strip(), refuse) for part in text.split(",")]
        if len(set(values)) < len(values):
            raise refuse(f"has a value twice: {text}")
        return Dimension(name, values=tuple(values))
    log = name in _BY_LOGARITHM
    if len(parts) == 3 and parts[2] in ("log", "linear"):
        log, parts = parts[2] == "log", parts[:2]
    if len(parts) != 2:
        raise refuse(f"must be LOW:HIGH or a list such as A,B,C, not {text!r}")
    low, high = (_value(place, about, part, refuse) for part in parts)
    if low is None or high is None or low >= high:
        raise refuse(f"must be LOW:HIGH with LOW below HIGH, not {text!r}")
    if log and low <= 0:
        raise refuse(f"has no logarithm at {low:g}; give a LOW above 0, or {low:g}:{high:g}:linear")
    return Dimension(name, low=float(low), high=float(high), log=log, whole=about.type is int)


def _value(place: str, about: About, text: str, refuse: Any) -> Any:
    """One value, as the option's own checks have it."""
    if not text:
        raise refuse("has an empty value")
    if text.lower() == "none" and about.default is None:
        return None
    _, value = parse_assignment(f"{place}={text}")
    try:
        RunConfig.from_options({place: value, **_NEEDS.get(place, {})})
    except ConfigError as error:
        raise refuse(str(error).removeprefix(f"{about.place.partition('.')[2]} ")) from None
    return float(value) if about.type is float else value


# What an option has to stand beside for its own value to be checked.
_NEEDS: dict[str, dict[str, Any]] = {
    "train.weight_decay": {"train.optimizer": "adamw"},
}


def written(values: Any) -> str:
    """A list, a pair (low, high) or one value, as `--space` has them."""
    if isinstance(values, tuple) and len(values) == 2:
        return f"{values[0]}:{values[1]}"
    if isinstance(values, Sequence) and not isinstance(values, str):
        return ",".join("none" if each is None else str(each) for each in values)
    return str(values)


def config_with(config: RunConfig, values: Mapping[str, Any]) -> RunConfig:
    """The config with a trial's values.

    Raises:
        ConfigError: they contradict it.
    """
    options = config.as_options()
    if config.train.steps is not None:
        del options["train.epochs"]
    if config.train.batch_tokens is not None:
        del options["train.batch_size"]
    for name, value in values.items():
        options[f"train.{name}"] = value
    if "steps" in values and values["steps"] is not None:
        options.pop("train.epochs", None)
    if "batch_tokens" in values and values["batch_tokens"] is not None:
        options.pop("train.batch_size", None)
    if options.get("train.optimizer") == "adam" and "weight_decay" not in values:
        options["train.weight_decay"] = None
    return RunConfig.from_options(options)


def check_spaces(config: RunConfig, dimensions: tuple[Dimension, ...]) -> None:
    """Refuses a search whose values contradict each other or the rest of the config.

    Raises:
        ConfigError: names them.
    """
    for values in islice(_corners(dimensions), _MOST_CHECKED):
        try:
            config_with(config, values)
        except ConfigError as error:
            raise ConfigError(
                f"a trial with {values_text(values)}: {error}", options=["space"]
            ) from None


def _corners(dimensions: tuple[Dimension, ...]) -> Iterator[dict[str, Any]]:
    names = [each.name for each in dimensions]
    for values in product(*(each.ends for each in dimensions)):
        yield dict(zip(names, values, strict=True))
