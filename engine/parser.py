"""Dataclasses as command lines and as YAML: a flag for every field, recipes by name, one-line errors."""

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import docstring_parser
import yaml
from jsonargparse import (
    ActionConfigFile,
    ArgumentError,
    ArgumentParser,
    DefaultHelpFormatter,
    set_parsing_settings,
)

from engine.errors import UserError, nearest, one_line

T = TypeVar("T")
DISTRIBUTION = "keepaugment"
REST = argparse.REMAINDER
set_parsing_settings(add_print_completion_argument=True)


@dataclass(frozen=True)
class Recipes:
    """YAML files that ``--config`` finds by name.

    Attributes:
        folder: folder whose YAML files can be named without path and suffix.
        generate: returns further recipes, name -> YAML text; called only for names not in the folder.
    """

    folder: Path
    generate: Callable[[], Mapping[str, str]] = dict

    def find(self, name: str) -> str:
        """Return the path or the text of a recipe.

        Args:
            name: name of a recipe, a path, or YAML text of more than one line.

        Raises:
            UserError: the recipe does not exist; the message suggests the nearest one.
        """
        if "\n" in name or Path(name).is_file():
            return name
        shipped = {path.stem: str(path) for path in sorted(self.folder.glob("*.yaml"))}
        if name in shipped:
            return shipped[name]
        generated = self.generate()
        if name in generated:
            return generated[name]
        if "/" in name and generated:
            hint = nearest(name, generated)
            raise UserError(f"recipe {name!r} not found{hint}: give a YAML file or the name of a table cell")
        hint = nearest(name, shipped)
        raise UserError(f"recipe {name!r} not found{hint}: give a YAML file, or one of {', '.join(shipped)}")


class Parser(ArgumentParser):
    """A parser whose ``--config`` finds recipes by name."""

    recipes: Recipes | None = None


class _Formatter(DefaultHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the paragraphs of a description."""


class _FindRecipe(ActionConfigFile):
    """``--config``: look the recipe up, then let jsonargparse read it."""

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: str | None = None) -> None:
        super().__call__(parser, cfg, parser.recipes.find(values) if parser.recipes else values, option_string)


def positional(*, nargs: str | None = None, default: Any = MISSING, metavar: str = "") -> Any:
    """Declare a dataclass field that is given on the command line without a flag.

    Args:
        nargs: None (one value), ``"?"``, ``"+"`` or ``REST`` (everything that follows), as in argparse.
        default: default of the field; without one, the argument is required.
        metavar: name shown in the usage line; "" means the name of the field.

    Returns:
        The field, for the right-hand side of its definition.
    """
    return field(default=default, metadata={"positional": True, "nargs": nargs, "metavar": metavar})


def build_parser(config_type: type[Any], prog: str = "", text: str = "", recipes: Recipes | None = None) -> Parser:
    """Build the parser of a configuration class.

    Args:
        config_type: a dataclass; nested dataclasses become ``--group.field``, and fields made by
            :func:`positional` are given without a flag.
        prog: name of the command, as typed.
        text: description shown by ``--help``.
        recipes: recipes that ``--config`` finds by name.

    Returns:
        The parser; its ``--config`` takes YAML files, of which later ones win.

    Source: jsonargparse.
    """
    words = [item for item in fields(config_type) if item.metadata.get("positional")]
    parser = Parser(
        prog=prog,
        usage=_usage_line(prog, words),
        description=text,
        formatter_class=_Formatter,
        exit_on_error=False,
        allow_abbrev=False,
        version=_version() if prog else None,
    )
    parser.recipes = recipes
    parser.add_argument("--config", action=_FindRecipe, help="YAML recipe: a file or the name of a built-in one")
    documented = {
        item.arg_name: item.description for item in docstring_parser.parse(config_type.__doc__ or "").params
    }
    for word in words:
        _add_positional(parser, word, documented.get(word.name) or "")
    skip = {word.name for word in words}
    if any(word.metadata["nargs"] == REST for word in words):  # a switch must not consume the next argument
        switches = [item for item in fields(config_type) if item.type is bool]
        for item in switches:
            parser.add_argument(f"--{item.name}", action="store_true", help=documented.get(item.name))
        skip |= {item.name for item in switches}
    parser.add_class_arguments(config_type, as_group=False, skip=skip)
    for action in parser._actions:
        if getattr(action, "_typehint", None) is bool:  # --resume means --resume true
            action.nargs, action.const = "?", True
    for option, action in list(parser._option_string_actions.items()):  # --batch-size means --batch_size
        parser._option_string_actions[option.replace("_", "-")] = action
    return parser


def _version() -> str:
    """Return the version of the installed distribution; a bare checkout has none."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "(not installed)"


def _add_positional(parser: ArgumentParser, word: Field[Any], text: str) -> None:
    nargs = word.metadata["nargs"]
    extra = {"default": word.default} if nargs == "?" else {}
    kind = {} if nargs in ("+", REST) else {"type": word.type}
    action = parser.add_argument(word.name, nargs=nargs, help=text, **extra, **kind)
    action.required = word.default is MISSING


def _usage_line(prog: str, words: Sequence[Field[Any]]) -> str:
    rest = any(word.metadata["nargs"] == REST for word in words)
    parts = [*map(_usage, words), "[--option VALUE ...]"]
    return " ".join([prog, *(reversed(parts) if rest else parts)])


def _usage(word: Field[Any]) -> str:
    name, nargs = word.name.upper(), word.metadata["nargs"]
    if word.metadata["metavar"]:
        return str(word.metadata["metavar"])
    return {None: name, "?": f"[{name}]", "+": f"{name} ...", REST: f"[{name} ...]"}[nargs]


def parse(config_type: type[T], arguments: Sequence[str], parser: Parser) -> T:
    """Read the command line into a configuration.

    Args:
        config_type: the dataclass of the parser.
        arguments: command-line arguments.
        parser: from :func:`build_parser`.

    Raises:
        UserError: a field or recipe is unknown (the message suggests the nearest), or a value has the wrong type.
    """
    return _instantiate(parser, config_type, lambda: parser.parse_args(_recipes_first(arguments, parser)))


def _recipes_first(arguments: Sequence[str], parser: Parser) -> list[str]:
    """Let options win over recipes wherever they stand: jsonargparse would let the later one win."""
    if parser.recipes is None:
        return list(arguments)
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    finder.add_argument("--config", action="append", default=[])
    try:
        found, rest = finder.parse_known_args(list(arguments))
    except argparse.ArgumentError:  # --config without a value: the parser itself reports it
        return list(arguments)
    return [*(f"--config={name}" for name in found.config), *rest]


def from_yaml(config_type: type[T], text: str) -> T:
    """Read back what :func:`dump` wrote.

    Raises:
        UserError: the text does not fit the class.
    """
    parser = build_parser(config_type)
    return _instantiate(parser, config_type, lambda: parser.parse_string(text))


def dump(config: Any) -> str:
    """Write a configuration as YAML that :func:`from_yaml` and ``--config`` read back."""
    return yaml.safe_dump(_plain(asdict(config)), sort_keys=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _instantiate(parser: Parser, config_type: type[T], parse: Callable[[], Any]) -> T:
    try:
        values = parser.instantiate(parse())
    except ArgumentError as error:
        raise UserError(explain(str(error), parser)) from error
    values = {item.name: values[item.name] for item in fields(config_type)}  # type: ignore[arg-type]
    return config_type(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})


def explain(message: str, parser: ArgumentParser) -> str:
    """Describe in one line what is wrong with a command line.

    Args:
        message: message from jsonargparse.
        parser: parser of the command line.

    Returns:
        The message, shortened; for an unknown field, also the field that was probably meant.
    """
    message = one_line(message)
    options = list(parser.get_defaults().keys(branches=True))
    if match := re.search(r"Group '([\w.]+)' does not accept option '([\w.]+)'", message):
        return _unknown(".".join(match.groups()), options)
    if match := re.search(
        r"nrecognized arguments: --([\w.-]+)|Option '([\w.]+)' is not|[Kk]ey '([\w.]+)' is not", message
    ):
        return _unknown(next(filter(None, match.groups())).replace("-", "_"), options)
    if match := re.search(r"argument (--[\w.-]+): expected one argument", message):
        return f"{match[1]} needs a value"
    if match := re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message):
        commands = re.findall(r"[\w-]+", match[2])
        return f"unknown command {match[1]!r}{nearest(match[1], commands)}: choose one of {', '.join(commands)}"
    if match := re.search(r'expected "command" to be one of \{(.*?)\}', message):
        return f"choose a command: {', '.join(match[1].split(','))}; --help describes them"
    if match := re.search(r"nrecognized arguments: (.*)", message):
        return f"unexpected argument {match[1]!r}; --help shows the usage"
    if match := re.search(r'Parser key "([\w.]+)": Unable to load config', message):
        inner = next((name for name in options if name.startswith(f"{match[1]}.")), match[1])
        return f"{match[1]} is a group of options, not a value (did you mean --{inner}?)"
    if match := re.search(r'Parser key "([\w.]+)":? (.*)', message):
        return _wrong_value(match[1], match[2])
    if match := re.search(r"Problems parsing config: (.*)", message):
        return f"config is not valid YAML: {match[1]}"
    return message


def _unknown(name: str, options: Sequence[str]) -> str:
    """Suggest the field with this name in another group, or the one with the nearest name."""
    same = [other for other in options if other.split(".")[-1] == name.split(".")[-1]]
    by_last_part = {other.split(".")[-1]: other for other in reversed(options)}
    hint = nearest(name, options, "--") or nearest(name.split(".")[-1], by_last_part, "--", by_last_part)
    if same:
        hint = f" (did you mean {' or '.join(f'--{other}' for other in same)}?)"
    return f"unknown option --{name}{hint}; --help lists all of them"


def _wrong_value(name: str, text: str) -> str:
    if choices := re.search(r"Expected a (?:typing\.)?Literal\[(.*?)\]\. Got value: (.*)", text):
        words = re.findall(r"'([^']*)'", choices[1])
        value = choices[2].strip()
        hint = "; YAML reads an unquoted yes or no as a boolean: quote it" if value in ("True", "False") else ""
        return f"{name} must be one of {', '.join(words)}, got {value!r}{nearest(value, words)}{hint}"
    if kind := re.search(r"Expected a <class '(\w+)'>\. Got value: (.*)", text):
        nouns = {
            "int": "an integer",
            "float": "a number",
            "bool": "true or false",
            "str": "text",
            "tuple": "a list",
        }
        example = ", e.g. [1, 2]" if kind[1] == "tuple" else ""
        value = kind[2].strip()
        hint = f"; write --{name}=true before a positional argument" if kind[1] == "bool" else ""
        return f"{name} must be {nouns.get(kind[1], kind[1])}{example}, got {value!r}{hint}"
    return f"{name}: {text}"
