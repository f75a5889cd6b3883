"""Typed dataclasses as command lines: YAML recipes, a flag for every field, errors in one line."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from engine.errors import UserError, nearest

T = TypeVar("T")


def build_parser(config_type: type[Any], prog: str, description: str) -> ArgumentParser:
    """Make the parser of a configuration class.

    Args:
        config_type: a dataclass; nested dataclasses become ``--group.field``.
        prog: name of the command, as typed.
        description: shown by ``--help``.

    Returns:
        The parser; its ``--config`` takes YAML files, later ones win.

    Source: jsonargparse.
    """
    _resolve(config_type)
    parser = ArgumentParser(prog=prog, description=description, exit_on_error=False)
    parser.add_argument("--config", action="config", help="YAML recipe: a file, or the name of one of ours")
    parser.add_class_arguments(config_type, as_group=False)
    return parser


def _resolve(config_type: type[Any]) -> None:
    """Replace a dataclass's postponed annotations by the types that they name.

    jsonargparse would run the module's ``if TYPE_CHECKING`` imports to find them: seconds, for ``--help`` too.
    """
    hints = get_type_hints(config_type)
    config_type.__init__.__annotations__.update(hints)
    for each in fields(config_type):
        each.type = hints[each.name]
        if is_dataclass(each.type):
            _resolve(each.type)  # type: ignore[arg-type]


def parse(
    config_type: type[T],
    argv: Sequence[str] | None = None,
    *,
    prog: str,
    description: str,
    recipes: Path | None = None,
    more_recipes: Callable[[], Mapping[str, str]] | None = None,
) -> T:
    """Read the command line into a configuration.

    Args:
        config_type: a dataclass.
        argv: arguments; None: those of the process.
        prog: name of the command.
        description: shown by ``--help``.
        recipes: folder whose YAML files can be named without path and suffix.
        more_recipes: name -> YAML text; asked only when a name is no file and not in the folder.

    Returns:
        The configuration.

    Raises:
        UserError: an unknown field (with the nearest known one), a wrong type, a recipe that does not exist.

    Source: jsonargparse.
    """
    parser = build_parser(config_type, prog, description)
    arguments = _find_recipes(list(sys.argv[1:] if argv is None else argv), recipes, more_recipes)
    arguments = _spell_out_flags([underscored(word) for word in arguments], parser)
    return _read(parser, config_type, lambda: parser.parse_args(arguments))


def with_positional(argv: Sequence[str] | None, *fields: str) -> list[str]:
    """Let the first arguments be given without flags: ``evaluate RUN`` means ``evaluate --checkpoint RUN``."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    count = next((i for i, argument in enumerate(arguments) if argument.startswith("-")), len(arguments))
    named = zip(fields, arguments[:count], strict=False)
    flags = [part for field, value in named for part in (f"--{field}", value)]
    return flags + arguments[min(count, len(fields)) :]


def from_yaml(config_type: type[T], text: str) -> T:
    """Read back what :func:`dump` wrote.

    Raises:
        UserError: the text does not fit the class.

    Source: jsonargparse.
    """
    parser = build_parser(config_type, "", "")
    return _read(parser, config_type, lambda: parser.parse_string(text))


def _read(parser: ArgumentParser, config_type: type[T], read: Callable[[], Any]) -> T:
    try:
        values = parser.instantiate(read())
    except ArgumentError as error:
        raise UserError(_explain(str(error), parser)) from error
    return config_type(**{f.name: values[f.name] for f in fields(config_type)})  # type: ignore[arg-type]


def dump(config: Any) -> str:
    """Write a configuration as YAML that :func:`parse` reads back."""
    return yaml.safe_dump(_plain(asdict(config)), sort_keys=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _spell_out_flags(arguments: list[str], parser: ArgumentParser) -> list[str]:
    """Let ``--resume`` mean ``--resume true``."""
    switches = {
        option
        for action in parser._actions
        if getattr(action, "_typehint", None) is bool
        for option in action.option_strings
    }
    spelled = []
    for argument, following in zip(arguments, [*arguments[1:], "--"], strict=False):
        bare = argument in switches and following.startswith("--")
        spelled.append(f"{argument}=true" if bare else argument)
    return spelled


def underscored(word: str) -> str:
    """Let ``--batch-size`` mean ``--batch_size``; other words stay as they are."""
    match = re.fullmatch(r"--([\w.-]+)(=.*)?", word, re.DOTALL)
    return f"--{match[1].replace('-', '_')}{match[2] or ''}" if match else word


def _find_recipes(
    arguments: list[str], recipes: Path | None, more: Callable[[], Mapping[str, str]] | None
) -> list[str]:
    """Replace recipe names by their files or texts."""
    known = {} if recipes is None else {path.stem: str(path) for path in sorted(recipes.glob("*.yaml"))}
    found, after_flag = [], False
    for argument in arguments:
        flag, equals, value = argument.partition("=")
        if after_flag or (flag == "--config" and equals):
            name = value if not after_flag else argument
            path = _recipe(name, known, more)
            found.append(path if after_flag else f"--config={path}")
            after_flag = False
        else:
            after_flag = argument == "--config"
            found.append(argument)
    return found


def _recipe(name: str, known: dict[str, str], more: Callable[[], Mapping[str, str]] | None) -> str:
    if "\n" in name or Path(name).is_file():
        return name
    if name in known:
        return known[name]
    generated = {} if more is None else more()
    if name in generated:
        return generated[name]
    if "/" in name and generated:
        raise UserError(f"no recipe {name!r}{nearest(name, generated)}: give a YAML file or the name of a cell")
    raise UserError(f"no recipe {name!r}{nearest(name, known)}: give a YAML file, or one of {', '.join(known)}")


def _explain(message: str, parser: ArgumentParser) -> str:
    """Shorten jsonargparse's message and add the nearest field name."""
    known = [name for name in parser.get_defaults().keys(branches=True)]
    message = " ".join(line.strip(" -") for line in message.splitlines() if line.strip())
    unknown = re.search(r"(?:nrecognized arguments: --|Option '|[Kk]ey ')([\w.]+)(?:'? is not|\b)", message)
    in_group = re.search(r"Group '([\w.]+)' does not accept option '([\w.]+)'", message)
    name = ".".join(in_group.groups()) if in_group else unknown[1] if unknown else ""
    if name:
        return f"unknown field {name!r}{nearest(name, known)}; --help lists all of them"
    return message
