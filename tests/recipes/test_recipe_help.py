"""Every option of every recipe is described by whole sentences, and every recipe's summary begins with a verb."""

from __future__ import annotations

import ast
import itertools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECIPES = sorted(file for file in (ROOT / "recipes").glob("*.py") if "tyro.cli(" in file.read_text(encoding="utf-8"))
VERBS = ("Add", "Compare", "Measure", "Run", "Test", "Train")


def described(file: Path) -> dict[str, ast.Constant | None]:
    """Return the docstring of each option of a recipe, by name; None for an option without one."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found: dict[str, ast.Constant | None] = {}
    for config in tree.body:
        if isinstance(config, ast.ClassDef) and "Checked" in map(ast.unparse, config.bases):
            for field, after in itertools.pairwise([*config.body, ast.Pass()]):
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                    text = after.value if isinstance(after, ast.Expr) else None
                    found[field.target.id] = text if isinstance(text, ast.Constant) else None
    return found


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_options_of_a_recipe_are_described_by_whole_sentences(file: Path) -> None:
    options = described(file)
    assert options
    for name, text in options.items():
        assert text is not None, name
        assert re.fullmatch(r"[A-Z].*\.", str(text.value)), name
        assert not re.match(r"(Of|By|As|To|Which|Whose|What|How many|These) ", str(text.value)), name
        # The parser shows a break of the source as a break.
        assert text.lineno == text.end_lineno, name


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_a_summary_begins_with_a_verb(file: Path) -> None:
    summary = (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").splitlines()[0]
    assert summary.startswith(VERBS), summary
    assert summary.endswith("."), summary


def documented() -> list[tuple[str, str, str]]:
    """Return each recipe's command in the documentation: page, recipe, arguments."""
    pages = [*ROOT.glob("*.md"), *(page for page in (ROOT / "docs").rglob("*.md") if "_build" not in page.parts)]
    texts = {str(page): re.sub(r"\\\n\s*", " ", page.read_text(encoding="utf-8")) for page in pages}
    commands = r"(?<!/)recipes/(\w+)\.py( [^`\n]*)"
    return [(name, *match) for name, text in sorted(texts.items()) for match in re.findall(commands, text)]


def test_documented_commands_use_options_that_their_recipe_has() -> None:
    commands = documented()
    assert len(commands) > 20
    wrong = [
        (page, recipe, option)
        for page, recipe, arguments in commands
        for option in re.findall(r"(?<= )--(?:no-)?([a-z][a-z-]*)", arguments)
        if option.replace("-", "_") not in described(ROOT / "recipes" / f"{recipe}.py")
    ]
    assert wrong == []
