"""The documentation site is complete, and its numbers are those of RESULTS.md and the model cards.

`make docs` builds it and executes its tutorials; nothing here needs Sphinx.
"""

from __future__ import annotations

import re
from pathlib import Path

import unlogit

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def test_every_page_is_in_the_contents() -> None:
    contents = "\n".join(re.findall(r"^```\{toctree\}\n(.*?)^```$", (DOCS / "index.md").read_text(), re.M | re.S))
    pages = {str(page.relative_to(DOCS).with_suffix("")) for page in (*DOCS.glob("*.md"), *DOCS.glob("tutorials/*.md"))}
    assert pages - set(contents.split()) == {"index"}


def test_every_public_name_is_in_the_reference() -> None:
    documented = set(re.findall(r"^\.\. auto\w+:: unlogit\.(\w+)", (DOCS / "api.md").read_text(), re.M))
    assert set(unlogit.__all__) - {"__version__"} - documented == set()


def test_every_inverter_is_in_the_model_zoo() -> None:
    zoo = (DOCS / "model-zoo.md").read_text()
    names = [card.parent.name for card in (ROOT / "src" / "unlogit" / "weights").glob("*/config.json")]
    assert names
    assert all(f"| `{name}` |" in zoo for name in names)


def test_numbers_and_commands_of_the_model_zoo_are_those_of_the_results() -> None:
    # The results also have inverters that are no longer published, as NAME=FOLDER.
    zoo, results = (DOCS / "model-zoo.md").read_text(), re.sub(r" \S+=FOLDER", "", (ROOT / "RESULTS.md").read_text())
    scores = re.findall(r"[\d.]+(?: %)? \([\d.]+ to [\d.]+\)", zoo)
    commands = re.findall(r"^    (.+)$", zoo, re.M)
    assert len(scores) > 20
    assert commands
    assert [text for text in (*scores, *commands) if text not in results] == []
