"""``main = command(Options, "module:function")``: a command whose work is imported only when it runs."""

import ast
import importlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError

from engine.errors import UserError, guard
from engine.parser import Parser, Recipes, build_parser, explain, parse
from engine.threads import spin_briefly


@dataclass(frozen=True)
class Command:
    """A command line that calls one function.

    Attributes:
        options: dataclass of its options.
        target: ``"module:function"``, called with the options; an integer result becomes the exit code.
        more: further arguments to the function.
        prog: name of the command, as typed.
        text: description shown by ``--help``.
        recipes: recipes that ``--config`` finds by name.
    """

    options: type[Any]
    target: str
    prog: str
    text: str
    recipes: Recipes | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, arguments: Sequence[str] | None = None) -> int:
        """Run the command and return the exit code.

        Args:
            arguments: command-line arguments; None means those of the process.
        """
        return guard(lambda: self.run(self.read(arguments)))

    def run(self, options: Any) -> int:
        """Import the function, call it with the options and return the exit code."""
        spin_briefly()
        module, name = self.target.split(":")
        result = getattr(importlib.import_module(module), name)(options, **self.more)
        return result if isinstance(result, int) else 0

    def read(self, arguments: Sequence[str] | None = None) -> Any:
        """Read a command line without running anything.

        Raises:
            UserError: see :func:`engine.parser.parse`.
        """
        words, parser = sys.argv[1:] if arguments is None else arguments, self.parser()
        if "--print_completion" in words:  # a shell completes one word: an alias of the module's name
            parser.prog = self.prog.removeprefix("python -m ")
        return parse(self.options, words, parser)

    def parser(self) -> Parser:
        """Build the parser."""
        return build_parser(self.options, self.prog, self.text, self.recipes)


def command(options: type[Any], target: str, recipes: Recipes | None = None, **more: Any) -> Command:
    """Declare the command of the calling module; its docstring becomes the description.

    Args:
        options: dataclass of the command's options.
        target: ``"module:function"`` that does the work.
        recipes: recipes that ``--config`` finds by name.
        **more: further arguments to the function.

    Returns:
        The command; call it with arguments, or without any to use those of the process.
    """
    prog, text = _caller()
    return Command(options, target, prog, text, recipes, more)


@dataclass(frozen=True)
class Subcommands:
    """Several commands under one name: ``python -m detection.data check ROOT``."""

    prog: str
    text: str
    commands: Mapping[str, Command]

    def __call__(self, arguments: Sequence[str] | None = None) -> int:
        """Run the command named by the first argument and return the exit code."""
        words = sys.argv[1:] if arguments is None else list(arguments)
        return guard(lambda: self._run(words))

    def _run(self, words: Sequence[str]) -> int:
        if words and words[0] in self.commands:
            command = self.commands[words[0]]
            return command.run(command.read(words[1:]))
        parser = Parser(prog=self.prog, description=self.text, exit_on_error=False, allow_abbrev=False)
        choices = parser.add_subcommands(dest="command")
        for name, item in self.commands.items():
            choices.add_subcommand(name, item.parser(), help=item.text)
        try:
            parser.parse_args(list(words))
        except ArgumentError as error:
            raise UserError(explain(str(error), parser)) from error
        raise AssertionError(words)


def subcommands(**commands: tuple[type[Any], str]) -> Subcommands:
    """Declare the calling module as a command with subcommands.

    Args:
        **commands: name -> (dataclass of its options, ``"module:function"``).
    """
    prog, text = _caller()
    return Subcommands(
        prog,
        text,
        {
            name: Command(options, target, f"{prog} {name}", (options.__doc__ or "").split("\n")[0])
            for name, (options, target) in commands.items()
        },
    )


def _caller() -> tuple[str, str]:
    """Return the name, as typed, and the docstring of the module that declares a command."""
    module = sys._getframe(2).f_globals
    spec = module["__spec__"]
    name = f"python -m {spec.name.removesuffix('.__main__')}" if spec else Path(module["__file__"]).name
    return name, module["__doc__"] or ""


def list_commands(package: Path) -> int:
    """Print the commands of a package: the files that declare a ``main``, found without importing them.

    Args:
        package: folder of the package.

    Returns:
        The exit code 0.
    """
    commands = {path.stem: text for path in sorted(package.glob("*.py")) if (text := _declares_command(path))}
    width = max(map(len, commands), default=0) + len(package.name) + 12
    print(f"Commands of {package.name}; each has --help.\n")
    for name, text in commands.items():
        print(f"{f'python -m {package.name}.{name}':{width}} {text}")
    return 0


def _declares_command(path: Path) -> str:
    """Return the first line of a command's docstring; "" for other files."""
    tree = ast.parse(path.read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            called = getattr(node.value.func, "id", "")
            if called in ("command", "subcommands") and getattr(node.targets[0], "id", "") == "main":
                return (ast.get_docstring(tree) or "").splitlines()[0]
    return ""
