"""Command lines: fields, recipes, flags, mistakes, and commands that answer --help at once."""

import importlib.metadata
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import pytest

from engine.command import Command
from engine.config import TrainingConfig
from engine.errors import UserError, as_user_error, check_choices, guard
from engine.parser import REST, Recipes, build_parser, dump, from_yaml, parse, positional
from keepcore.config import KeepConfig

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Config(TrainingConfig):
    """A config.

    Attributes:
        augment: an operation.
    """

    augment: KeepConfig = field(default_factory=KeepConfig)


@dataclass(frozen=True)
class Words:
    """Words.

    Attributes:
        file: a file.
        more: another one.
        flag: a switch.
    """

    file: str = positional()
    more: str = positional(nargs="?", default="none")
    flag: bool = False


@dataclass(frozen=True)
class Rest:
    """Everything that follows.

    Attributes:
        rest: all of it.
        flag: a switch.
        number: a number.
    """

    rest: tuple[str, ...] = positional(nargs=REST, default=())
    flag: bool = False
    number: int = 0


def read(*argv, recipes=None, config=Config):
    return parse(config, list(argv), build_parser(config, "test", "", recipes and Recipes(recipes)))


def test_fields_recipes_and_flags(tmp_path):
    (tmp_path / "mine.yaml").write_text("epochs: 7\naugment: {op: cutmix, area: [0.1, 0.2]}\n")
    config = read("--config", "mine", "--augment.scale", "0.5", "--resume", recipes=tmp_path)
    assert (config.epochs, config.resume, config.augment.op) == (7, True, "cutmix")
    assert config.augment.area == (0.1, 0.2)
    assert config.augment.scale == 0.5
    assert read("--config=mine", "--epochs", "9", recipes=tmp_path).epochs == 9
    assert (
        read("--epochs", "9", "--config", "mine", recipes=tmp_path).epochs == 9
    )  # options win wherever they stand
    (tmp_path / "later.yaml").write_text("epochs: 8\nseed: 4\n")
    both = read("--seed", "5", "--config", "mine", "--config", "later", recipes=tmp_path)
    assert (both.epochs, both.seed, both.augment.op) == (8, 5, "cutmix")
    with pytest.raises(UserError, match="--config needs a value"):
        read("--epochs", "9", "--config", recipes=tmp_path)
    assert read("--resume", "false").resume is False


def test_no_arguments_are_the_defaults():
    assert read() == Config()


def test_what_is_dumped_is_read_back():
    config = replace(
        read("--optim.milestones", "[3, 5]"), augment=KeepConfig(length=0.5, fill_value=(1.0, 2.0, 3.0))
    )
    assert from_yaml(Config, dump(config)) == config


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--augment.lenght", "3"], "augment.lenght.*did you mean --augment.length"),
        (["--lr", "3"], r"unknown option --lr \(did you mean --optim.lr\?\)"),
        (["--optim", "sgd"], r"optim is a group of options.*did you mean --optim.name\?"),
        (["--epochs", "many"], "epochs must be an integer, got 'many'"),
        (["--epochs"], "--epochs needs a value"),
        (["--device", "gpu"], "device must be one of auto, cpu, cuda, mps, got 'gpu'"),
        (["--augment.op", "cutmx"], "got 'cutmx'.*did you mean 'cutmix'"),
        (["--optim.milestones", "3,4"], "optim.milestones must be a list, e.g"),
        (["7"], "unexpected argument '7'"),
        (["--config", "mein"], "recipe 'mein' not found.*did you mean 'mine'"),
    ],
)
def test_mistakes_are_told_in_one_line(argv, message, tmp_path):
    (tmp_path / "mine.yaml").write_text("epochs: 7\n")
    with pytest.raises(UserError, match=message) as error:
        read(*argv, recipes=tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["epoks: 3", "augment: {lenght: 3}"])
def test_an_unknown_field_in_a_recipe_names_the_nearest(tmp_path, text):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(UserError, match="did you mean"):
        read("--config", str(tmp_path / "bad.yaml"))


def test_yaml_that_is_none_and_values_that_yaml_changes(tmp_path):
    (tmp_path / "bad.yaml").write_text("epochs: [3")
    with pytest.raises(UserError, match="is not valid YAML"):
        read("--config", str(tmp_path / "bad.yaml"))
    (tmp_path / "no.yaml").write_text("precision: no")
    with pytest.raises(UserError, match="precision must be one of.*quote it"):
        read("--config", str(tmp_path / "no.yaml"))
    (tmp_path / "group.yaml").write_text("optim: sgd")
    with pytest.raises(UserError, match="optim is a group of options"):
        read("--config", str(tmp_path / "group.yaml"))


def test_arguments_without_a_flag():
    assert read("a.pth", "--flag", config=Words) == Words("a.pth", "none", True)
    assert read("--flag", "false", "a.pth", "b", config=Words) == Words("a.pth", "b", False)
    with pytest.raises(UserError, match="required: file"):
        read(config=Words)
    with pytest.raises(UserError, match="flag must be true or false, got 'a.pth'; write --flag=true before"):
        read("--flag", "a.pth", config=Words)
    with pytest.raises(UserError, match="unexpected argument 'c'"):
        read("a", "b", "c", config=Words)


def test_the_rest_of_a_command_line():
    assert read("--flag", "A.B", "1", "--number", "2", config=Rest) == Rest(("A.B", "1", "--number", "2"), True)
    assert read("--number", "3", config=Rest) == Rest((), number=3)


def test_dashes_are_underscores():
    assert read("--log-every", "3", "--augment.log-aspect", "false").augment.log_aspect is False


def test_guard(capsys):
    def user():
        raise UserError("size: 3 is odd\nuse 4")

    def file():
        raise FileNotFoundError(2, "not there", "x")

    def bug():
        raise ValueError("x")

    assert guard(user) == 2
    assert capsys.readouterr().err == "error: size: 3 is odd use 4\n"
    assert guard(file) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert guard(lambda: None) == 0
    assert guard(lambda: sys.exit(0)) == 0
    with pytest.raises(ValueError, match="x"):  # a bug keeps its traceback
        guard(bug)


def test_errors_of_a_library_where_options_reach_it():
    with pytest.raises(UserError, match="augment: tau is 3"), as_user_error("augment"):
        raise ValueError("tau is 3")
    with pytest.raises(UserError, match="^as it is$"), as_user_error("augment"):
        raise UserError("as it is")


def test_choices_are_checked_in_python_too():
    @dataclass(frozen=True)
    class Outer:
        kind: Literal["a", "b"] = "a"
        augment: KeepConfig = field(default_factory=KeepConfig)

    check_choices(Outer())
    with pytest.raises(UserError, match="data.kind must be one of a, b, got 'c'"):
        check_choices(Outer(kind="c"), "data.")
    with pytest.raises(UserError, match="augment.op must be one of none, cutout"):
        check_choices(Outer(augment=KeepConfig(op="cut")))


def test_a_command_imports_its_function_only_when_it_runs():
    command = Command(Words, "no.such.module:function", "test", "")
    assert command(["--help"]) == 0
    assert command(["--nonsense", "1"]) == 2
    with pytest.raises(ModuleNotFoundError):
        command(["a"])


PACKAGES = ("pretrain", "reid", "semi_supervised", "detection")
DOORS = sorted(
    ".".join(path.with_suffix("").parts).removesuffix(".__main__")
    for path in (p.relative_to(ROOT) for folder in (*PACKAGES, "imagesets") for p in (ROOT / folder).rglob("*.py"))
    if re.search(r"^main = (sub)?commands?\(", (ROOT / path).read_text(), re.MULTILINE)
)


def python(*words):
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "1000 None"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None ACTIVE"), ({"GOMP_SPINCOUNT": "7"}, "7 None")],
)
def test_idle_threads_of_a_command_spin_briefly_unless_the_user_chose(given, expected):
    names = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    environment = {name: value for name, value in os.environ.items() if name not in names} | given
    program = (
        "import os, sys; from engine.command import Command; from pretrain.config import Config; "
        "before = 'torch' in sys.modules; Command(Config, 'builtins:id', 'x', '').run(Config()); "
        f"print(before, *map(os.environ.get, {names}))"
    )
    words = [sys.executable, "-c", program]
    run = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == f"False {expected}"


def test_all_commands_are_known():
    assert len(DOORS) == 28


@pytest.mark.parametrize("module", DOORS)
def test_help_lists_fields_without_importing_torch(module):
    """As a user types it: python -m MODULE --help."""
    done = python("-X", "importtime", "-m", module, "--help")
    assert "usage" in done.stdout
    assert not [line for line in done.stderr.splitlines() if line.endswith("| torch")]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_lists_its_commands(package):
    listed = python("-m", package).stdout
    doors = [module for module in DOORS if module.startswith(f"{package}.")]
    assert sorted(re.findall(rf"python -m ({package}\.\w+)", listed)) == doors


def test_a_bare_checkout_needs_no_installed_distribution(monkeypatch, capsys):
    monkeypatch.setattr("engine.parser.DISTRIBUTION", "no-such-distribution")
    assert Command(Words, "no.such.module:function", "test", "")(["--version"]) == 0
    assert "not installed" in capsys.readouterr().out


def test_version_and_completion():
    version = importlib.metadata.version("keepaugment")
    assert version in python("-m", "pretrain.train", "--version").stdout
    assert "--optim.lr" in python("-m", "pretrain.train", "--print_completion", "shtab-bash").stdout
