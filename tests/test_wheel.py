"""The wheel runs with torch alone: built, installed into an environment with nothing else, imported whole."""

import re
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
IMPORT_ALL = """
import importlib, pkgutil, torch, keepcore
names = [module.name for module in pkgutil.walk_packages(keepcore.__path__, "keepcore.")]
for name in names:
    importlib.import_module(name)
for name in keepcore.__all__:
    getattr(keepcore, name)
net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 10))
kept = keepcore.KeepCutout(4)(net, torch.rand(2, 3, 8, 8), torch.tensor([0, 1]))
assert kept.images_BCHW.shape == (2, 3, 8, 8)
print(len(names))
"""


def closure(name, found=None):
    """The distributions that one needs, itself included."""
    found = {} if found is None else found
    if name not in found:
        found[name] = distribution(name)
        for text in found[name].requires or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                closure(re.sub(r"[-_.]+", "-", requirement.name).lower(), found)
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    words = ["-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    subprocess.run([sys.executable, *words, "-w", str(out), str(ROOT)], check=True, capture_output=True)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def clean_python(tmp_path_factory, wheel):
    """An environment with torch, what torch requires, and the wheel."""
    folder = tmp_path_factory.mktemp("clean") / "venv"
    venv.create(folder, symlinks=True)
    packages = next((folder / "lib").glob("python*")) / "site-packages"
    for package in closure("torch").values():
        for top in {file.parts[0] for file in package.files or [] if file.parts[0] not in ("..", "__pycache__")}:
            target = packages / top
            if not target.exists():
                target.symlink_to(Path(str(package.locate_file(top))))
    zipfile.ZipFile(wheel).extractall(packages)
    return folder / "bin" / "python"


def test_the_wheel_holds_keepcore_alone(wheel):
    files = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]
    ours = {
        str(path.relative_to(ROOT)) for path in (ROOT / "keepcore").rglob("*") if path.suffix in (".py", ".md")
    }
    assert {name.split("/")[0] for name in files} == {"keepcore"}
    assert {name for name in files if name.endswith((".py", ".md"))} == ours


def test_all_of_it_runs_with_torch_alone(clean_python):
    done = subprocess.run([clean_python, "-I", "-c", IMPORT_ALL], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 20
    assert subprocess.run([clean_python, "-I", "-c", "import timm"], capture_output=True, check=False).returncode
