"""Commands and options that messages name: the command line of the tool must accept each of them.

They are read from the source, because each belongs to a failure of its own. A value that is known only at run time is
replaced by `1`, which is a number, a name and a path.
"""

from __future__ import annotations

import ast
import itertools
import re
from functools import cache
from typing import TYPE_CHECKING, Any

import nox
import pytest
import typer
from tests.support import noxfile

from maas import cli, console, paths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

VALUE = "1"
SOURCE = paths.content() / "src" / "maas"
ROOT: Any = typer.main.get_command(cli.app)
FOREIGN = {"--node-ip"}
"""Options of other programs that hints name."""

Words = tuple[str, ...]
SAME: list[Words] = [("--name", VALUE), ("--inventory", VALUE)]
"""The options with which a command is about the same cluster as the one that failed."""


@pytest.fixture(autouse=True)
def _text_again() -> Iterator[None]:
    yield
    console.set_output("text")


def accept(words: Words) -> None:
    """Parse the words of a command, without running it; an error is what a user would see."""
    command, name, context = ROOT, "maas", None
    rest = list(words)
    while True:
        context = command.make_context(name, rest, parent=context)
        rest = [*context._protected_args, *context.args]  # noqa: SLF001 - as Click itself does in a group
        if not rest or not hasattr(command, "resolve_command"):
            return
        name, command, rest = command.resolve_command(context, rest)


def options(command: Any = ROOT) -> Iterator[str]:
    for parameter in command.params:
        yield from (*parameter.opts, *parameter.secondary_opts)
    for one in getattr(command, "commands", {}).values():
        yield from options(one)


def name_of(node: ast.expr) -> str:
    return str(getattr(node, "attr", getattr(node, "id", "")))


class Module:
    """The syntax tree of a module, in which the values of variables are looked up."""

    def __init__(self, file: Path) -> None:
        self.tree = ast.parse(file.read_text(encoding="utf-8"))
        self.calls = [node for node in ast.walk(self.tree) if isinstance(node, ast.Call)]
        functions = [node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef)]
        self._given: dict[str, list[ast.expr]] = {}
        # An inner function comes after the one that contains it.
        self.function = {node: function for function in functions for node in ast.walk(function)}

    def commands(self) -> Iterator[Words]:
        """Return the words of every command that a message names."""
        for call in self.calls:
            if ast.unparse(call.func) == "paths.command":
                for given in list(self._callers(self.function[call])) or [{}]:
                    self._given = given
                    yield from self.sequence(call.args)

    def _callers(self, function: ast.FunctionDef) -> Iterator[dict[str, list[ast.expr]]]:
        """Return the arguments of each call of a function in this module, by parameter."""
        names = [one.arg for one in function.args.args]
        for call in self.calls:
            if name_of(call.func) == function.name:
                given = {name: [value] for name, value in zip(names, call.args, strict=False)}
                rest = {function.args.vararg.arg: call.args[len(names) :]} if function.args.vararg else {}
                yield given | rest

    def sequence(self, parts: Iterable[ast.expr]) -> list[Words]:
        return [tuple(itertools.chain(*one)) for one in itertools.product(*map(self.words, parts))]

    def words(self, node: ast.expr) -> list[Words]:
        """Return the alternatives of a word, or of the words of a sequence."""
        known: dict[type[ast.expr], Callable[[Any], list[Words]]] = {
            ast.Constant: lambda it: [(str(it.value),)],
            ast.Starred: lambda it: self.words(it.value),
            ast.Tuple: lambda it: self.sequence(it.elts),
            ast.List: lambda it: self.sequence(it.elts),
            ast.IfExp: lambda it: [*self.words(it.body), *self.words(it.orelse)],
            ast.JoinedStr: lambda it: [(re.sub(r"\{[^}]*\}", VALUE, ast.unparse(it)[2:-1]),)],
            ast.Name: self._variable,
            ast.Attribute: lambda it: SAME if it.attr == "same" else [(VALUE,)],
        }
        return known[type(node)](node) if type(node) in known else [(VALUE,)]

    def _variable(self, node: ast.Name) -> list[Words]:
        """Return what the function of a variable assigns to it, or what its caller gives."""
        if node.id == "same":
            return SAME
        if node.id in self._given:
            return self.sequence(self._given.pop(node.id))
        assigned = [one for one in ast.walk(self.function[node]) if isinstance(one, ast.Assign)]
        values = [one.value for one in assigned if name_of(one.targets[0]) == node.id]
        return list(itertools.chain(*map(self.words, values))) or [(VALUE,)]


MODULES = {str(file.relative_to(SOURCE)): Module(file) for file in sorted(SOURCE.rglob("*.py"))}
COMMANDS = sorted({(name, words) for name, module in MODULES.items() for words in module.commands()})


@cache
def sessions() -> set[str]:
    """Return the names of the sessions of the noxfile, each of which runs the command of its name."""
    noxfile.load()
    return set(nox.registry.get())


@pytest.mark.parametrize(("module", "words"), COMMANDS)
def test_every_command_that_a_message_names_is_accepted(module: str, words: Words) -> None:
    assert words[0] in sessions(), module
    accept(words)


def strings(node: ast.AST) -> Iterator[str]:
    for one in ast.walk(node):
        if isinstance(one, ast.Constant) and isinstance(one.value, str):
            yield one.value


def test_every_option_that_a_hint_names_exists() -> None:
    hints = [
        word for module in MODULES.values() for call in module.calls for word in call.keywords if word.arg == "hint"
    ]
    named = {option for hint in hints for text in strings(hint) for option in re.findall(r"(?<![\w-])--[a-z-]+", text)}
    assert {"--name", "--inventory", "--release", "--yes"} <= named
    assert named - set(options()) - FOREIGN == set()


def test_every_command_in_a_text_exists() -> None:
    texts = [text for module in MODULES.values() for text in strings(module.tree)]
    named = {session for text in texts for session in re.findall(r"\./nox -s ([a-z-]+)", text)}
    assert "tests" in named
    assert named - sessions() == set()
    quoted = {command for text in texts for command in re.findall(r"`maas ([a-z][a-z -]*)`", text)}
    assert "etcd restore" in quoted
    for command in quoted:
        found = ROOT
        for word in command.split():
            assert word in getattr(found, "commands", word), command
            found = getattr(found, "commands", {}).get(word)


@pytest.mark.parametrize(
    "words", [("status", "--name x"), ("etcd", "restore"), ("bootstraps",), ("up", "--nam"), ("etcd", "lists")]
)
def test_a_command_that_does_not_work_is_found(words: Words) -> None:
    with pytest.raises(Exception, match=r"No such|Missing|no such|Got unexpected"):
        accept(words)


def test_the_same_command_has_all_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its values, bootstrap would deploy the chart with other ones."""
    monkeypatch.setattr("sys.argv", ["maas", "bootstrap", "--values", "my values.yaml", "-K", "--without=a"])
    assert paths.same_command() == "./nox -s bootstrap -- --values 'my values.yaml' -K --without=a"


def test_a_command_is_one_for_a_shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert paths.command("up") == "./nox -s up"
    assert paths.command("reset", "--inventory", tmp_path / "my hosts.yaml") == (
        f"./nox -s reset -- --inventory '{tmp_path}/my hosts.yaml'"
    )
    (tmp_path / "content").mkdir()
    monkeypatch.setattr(paths, "__file__", str(tmp_path / "paths.py"))
    assert paths.command("reset", "--inventory", "my hosts.yaml") == "maas reset --inventory 'my hosts.yaml'"
