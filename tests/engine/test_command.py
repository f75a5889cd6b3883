import subprocess
import sys
from dataclasses import dataclass, field, replace

import pytest

from engine.command import dump, from_yaml, parse
from engine.config import Run
from engine.errors import UserError, guard
from keepcore.config import KeepConfig


@dataclass(frozen=True)
class Config(Run):
    """A config.

    Attributes:
        augment: an operation.
    """

    augment: KeepConfig = field(default_factory=KeepConfig)


def read(*argv, recipes=None):
    return parse(Config, list(argv), prog="test", description="", recipes=recipes)


def test_fields_recipes_and_flags(tmp_path):
    (tmp_path / "mine.yaml").write_text("epochs: 7\naugment: {op: cutmix, area: [0.1, 0.2]}\n")
    config = read("--config", "mine", "--augment.scale", "0.5", "--resume", recipes=tmp_path)
    assert (config.epochs, config.resume, config.augment.op) == (7, True, "cutmix")
    assert config.augment.area == (0.1, 0.2)
    assert config.augment.scale == 0.5
    assert read("--config=mine", "--epochs", "9", recipes=tmp_path).epochs == 9
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
        (["--augment.lenght", "3"], "augment.lenght.*did you mean 'augment.length'"),
        (["--epochs", "many"], "epochs"),
        (["--config", "mein"], "no recipe 'mein'.*did you mean 'mine'"),
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


def test_guard(capsys):
    def user():
        raise ValueError("size: 3 is odd\nuse 4")

    def bug():
        raise KeyError("x")

    assert guard(user) == 2
    assert capsys.readouterr().err == "error: size: 3 is odd use 4\n"
    assert guard(lambda: None) == 0
    with pytest.raises(KeyError):
        guard(bug)


COMMANDS = {
    "pretrain": "train evaluate export fidelity reproduce",
    "reid": "train evaluate data extract search export",
    "semi_supervised": "train evaluate",
    "detection": "check collect data pictures rescore reverse rows run",
}


@pytest.mark.parametrize(
    "module", [f"{package}.{name}" for package, names in COMMANDS.items() for name in names.split()]
)
def test_help_lists_fields_without_importing_torch(module):
    """As a user types it: python -m MODULE --help."""
    command = [sys.executable, "-X", "importtime", "-m", module, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "usage" in done.stdout
    assert not [line for line in done.stderr.splitlines() if line.endswith("| torch")]
