"""Every number of every configuration has bounds, and a value out of them is one line that names the option."""

from __future__ import annotations

import dataclasses
import importlib
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import pytest

import unlogit
from unlogit.errors import UnlogitError
from unlogit.files import expand_user
from unlogit.settings import Bounds, Checked, Count, Weight, Width, _bounds

GIVEN = {
    "AnalyseConfig": {"inverters": ("a",), "images": "scenes:", "out": Path("o")},
    "CreateConfig": {"inverters": ("a", "b"), "images": "scenes:"},
    "FitConfig": {"out": Path("c")},
    "ReconstructConfig": {"photos": (Path(__file__),), "out": Path("o")},
    "SmallConfig": {"classes": 3},
    "TrainConfig": {"images": "scenes:", "held_out": "scenes:test", "classifier": "small:c", "out": Path("o")},
}
"""Fields without a default, by configuration; of any other they are text, which is not opened."""


PACKAGE = Path(unlogit.__file__).parent
CONFIG = re.compile(r"^class (\w*(?:Config|Options|Launch))\b(.*):$", re.MULTILINE)
MODULES = {
    "unlogit." + path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", "."): CONFIG.findall(
        path.read_text()
    )
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.name != "settings.py" and CONFIG.search(path.read_text())
}
"""By module, what it declares: (name, bases) of each configuration. As text, since importing all takes long."""


def configs(module: str) -> Iterator[type]:
    for name, _ in MODULES[module]:
        config = getattr(importlib.import_module(module), name)
        if dataclasses.is_dataclass(config):
            assert isinstance(config, type)
            yield config


def required(config: type) -> dict[str, Any]:
    if config.__name__ in GIVEN:
        return GIVEN[config.__name__]
    if config.__name__.endswith("Launch"):
        (inner,) = (get_args(hint)[0] if get_args(hint) else hint for n, hint in hints(config) if n == "config")
        return {"config": inner(**GIVEN[inner.__name__])}
    return {f.name: "x" for f in dataclasses.fields(config) if f.default is f.default_factory is dataclasses.MISSING}


def hints(config: type) -> list[tuple[str, Any]]:
    return list(get_type_hints(config, include_extras=True).items())


def kinds(hint: Any) -> set[object]:
    return {hint}.union(*map(kinds, get_args(hint))) if get_args(hint) else {hint}


def wrong_values(bounds: Bounds, whole: bool) -> Iterator[float]:
    """NaN and infinity, and what lies just outside of each bound."""
    yield from (math.nan,) if bounds.infinite else (math.nan, math.inf, -math.inf)
    step = 1 if whole else 1e-6
    if math.isfinite(bounds.low):
        yield bounds.low if bounds.above else bounds.low - step
    if math.isfinite(bounds.high):
        yield bounds.high if bounds.below else bounds.high + step


@pytest.mark.parametrize("module", MODULES)
def test_every_number_has_bounds_and_a_value_out_of_them_is_one_line(module: str) -> None:
    for config in configs(module):
        assert issubclass(config, Checked), config
        given = required(config)
        config(**given)
        fields = {field.name for field in dataclasses.fields(config)}
        for name, hint in hints(config):
            if name not in fields:  # A constant of the class.
                continue
            bounds, whole = _bounds(config)[name]
            assert bounds is not None or not kinds(hint) & {int, float}, f"{config}.{name}"
            default = next(f.default for f in dataclasses.fields(config) if f.name == name)
            for value in wrong_values(bounds, whole) if bounds else ():
                wrong: Any = (*default[:-1], value) if isinstance(default, tuple) else value
                with pytest.raises(UnlogitError) as told:
                    config(**given | {name: wrong})
                assert str(told.value).startswith(f"{config.prefix()}{name} {value}: must "), told.value
                assert "\n" not in str(told.value)


def test_the_configurations_are_found() -> None:
    assert len(MODULES) > 30
    assert {"unlogit.methods._train_config", "unlogit.web.study.command", "unlogit.analyses.noise"} <= MODULES.keys()


@dataclasses.dataclass(frozen=True)
class Drawing(Checked):
    draws: Count = 4
    width: Width | None = None
    weights: tuple[Weight, ...] = (0.0, 1.0)
    share: Annotated[float, Bounds(0, 1, hint="a share of the run")] = 0.5
    out: Path = Path("o")
    photos: tuple[Path, ...] = ()

    @classmethod
    def prefix(cls) -> str:
        return "drawing."


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"draws": 0}, "drawing.draws 0: must be at least 1"),
        ({"draws": 2.5}, "drawing.draws 2.5: must be a whole number"),
        ({"draws": "many"}, "drawing.draws many: must be a whole number"),
        ({"draws": True}, "drawing.draws True: must be a whole number"),
        ({"draws": 10**13}, "drawing.draws 10000000000000: must be at most 1,000,000,000,000"),
        ({"width": 0}, "drawing.width 0: must be at least 1"),
        ({"weights": (1.0, -1.0)}, "drawing.weights -1.0: must not be negative"),
        ({"share": 2}, "drawing.share 2: must be at most 1; a share of the run"),
        ({"share": math.nan}, "drawing.share nan: must be a finite number; a share of the run"),
    ],
)
def test_what_is_said(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UnlogitError) as told:
        Drawing(**given)
    assert str(told.value) == message


def test_a_leading_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    made = Drawing(out=Path("~/o"), photos=(Path("a~"), Path("~/b.png")))
    assert made.out == tmp_path / "o"
    assert made.photos == (Path("a~"), tmp_path / "b.png")
    assert expand_user("~/a?b=~") == f"{tmp_path}/a?b=~"
    with pytest.raises(UnlogitError, match=r"no such user; .* write ./~nobody-of-that-name/x"):
        expand_user("~nobody-of-that-name/x")
