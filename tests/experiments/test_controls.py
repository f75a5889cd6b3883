import json
from dataclasses import asdict

import pytest
import yaml

from experiments.controls import controls_of, is_keep, plain_of, same_recipe
from experiments.grid import with_controls
from experiments.reproduce import Result, collect, differences
from experiments.statistics import paired_difference
from pretrain import reproduce
from pretrain.grid import GRID
from pretrain.train import main as train_command
from semi_supervised.grid import GRID as SEMI_GRID
from semi_supervised.train import main as semi_command

CUT = {"shuffled", "same size", "mean map", "centre prior", "noise"}
MATCHED = {"area-matched", "area-matched, shuffled", "area-matched, centre prior"}
PASTE = {"random paste", "shuffled", "mean map", "centre prior"}


def recipe(**augment):
    return {"epochs": 3, "augment": augment}


def test_what_is_keep():
    assert is_keep(recipe(op="cutout"))
    assert is_keep(recipe(op="paste", match="area"))
    for other in ({"op": "none"}, {"op": "cutout", "selective": False}, {"op": "cutout", "shuffled": True}):
        assert not is_keep(recipe(**other))
    assert not is_keep(recipe(op="cutmix", control="noise"))
    assert not is_keep({"epochs": 3})


def test_the_controls_of_each_operation():
    assert set(controls_of(recipe(op="cutout"))) == CUT | MATCHED
    assert set(controls_of(recipe(op="cutmix"))) == CUT | MATCHED
    assert set(controls_of(recipe(op="cutout", match="area"))) == CUT
    assert set(controls_of(recipe(op="erasing"))) == CUT
    assert set(controls_of(recipe(op="paste"))) == PASTE


def test_a_control_changes_one_thing():
    keep = recipe(op="cutout", length=16, scale=0.5, saliency="feature_gradient", quantile=0.7)
    controls = controls_of(keep)
    assert controls["shuffled"]["augment"] == keep["augment"] | {"control": "shuffled"}
    assert controls["noise"]["augment"] == {"op": "cutout", "length": 16, "quantile": 0.7, "control": "noise"}
    assert controls["area-matched, shuffled"]["augment"] == keep["augment"] | {
        "match": "area",
        "control": "shuffled",
    }
    assert all(control["epochs"] == 3 for control in controls.values())


def test_the_plain_augmentation():
    assert plain_of(recipe(op="cutout", length=16, scale=0.5, match="area", control="shuffled")) == recipe(
        op="cutout", length=16, selective=False
    )
    assert plain_of(recipe(op="paste", length=16)) == {"epochs": 3}
    assert same_recipe({"epochs": 3}, recipe(op="none"))
    assert not same_recipe({"epochs": 3}, recipe(op="cutout"))


@pytest.mark.parametrize(("grid", "command"), [(GRID, train_command), (SEMI_GRID, semi_command)])
def test_every_cell_with_keep_has_its_controls_as_recipes(grid, command):
    keeps = [cell for cell in grid.cells if is_keep(cell.config)]
    assert len(keeps) >= 8
    recipes = [(cell.table, cell.config) for cell in grid.all_cells]
    names = [cell.name for cell in grid.all_cells]
    assert len(set(names)) == len(names)
    for keep in keeps:
        assert all((keep.table, control) in recipes for control in controls_of(keep.config).values())
    for cell in grid.all_cells:
        if cell.control_of:
            assert cell.config["augment"] != next(k for k in keeps if k.name == cell.control_of).config["augment"]
    last = [cell for cell in grid.all_cells if cell.control_of][-1]
    assert command.read(["--config", last.name]).augment.op == last.config["augment"]["op"]


def test_every_cell_with_keep_has_its_plain_augmentation_in_the_paper_s_tables():
    alone = {"table4", "beyond"}  # the paper's Table 4 has no row of AutoAugment alone
    for cell in GRID.cells:
        if is_keep(cell.config) and cell.table not in alone:
            others = [other for other in GRID.cells if other.table == cell.table]
            assert any(same_recipe(other.config, plain_of(cell.config)) for other in others), cell.name


def test_paired_differences():
    found = paired_difference({0: 95.0, 1: 96.0, 2: 97.0}, {0: 94.0, 1: 95.5, 2: 96.0, 3: 90.0})
    assert found.mean == pytest.approx(2.5 / 3)
    half = 4.302653 * 0.288675 / 3**0.5  # t(0.975, 2) and the sample standard deviation of 1, 0.5, 1
    assert (found.low, found.high) == pytest.approx((found.mean - half, found.mean + half), abs=1e-5)
    assert found.seeds == 3
    assert str(paired_difference({4: 1.0}, {4: 3.0})) == "-2.00"
    assert paired_difference({0: 1.0}, {1: 1.0}) is None


def test_differences_pair_each_row_with_its_plain_row_and_each_control_with_its_keep_row():
    cells = with_controls(cell for cell in GRID.cells if cell.table == "table2" and cell.column == "L16")
    numbers = {"Cutout": (90.0, 91.0), "KeepCutout": (92.0, 92.5), "KeepCutout, shuffled": (91.0, 92.0)}
    results = {
        cell.name: Result(numbers[cell.row], (), (), {}, (0, 1)) if cell.row in numbers else collect(cell, [])
        for cell in cells
    }
    found = differences(cells, results)
    assert found["table2/keepcutout-l16"]["minus plain"].mean == pytest.approx(1.75)
    shuffled = found["table2/keepcutout-shuffled-l16"]
    assert {title: d.mean for title, d in shuffled.items()} == pytest.approx(
        {"minus plain": 1.0, "Keep minus it": 0.75}
    )
    assert found["table2/cutout-l16"] == {}
    assert found["table2/keepcutout-noise-l16"] == {}


def test_the_command_prints_and_writes_them(tmp_path, capsys):
    for row, name, top1 in (("cutout", "cutout", 90.0), ("keepcutout", "keepcutout", 91.0)):
        for seed in (0, 1):
            folder = tmp_path / "table1" / f"{row}-resnet-18" / f"seed{seed}"
            folder.mkdir(parents=True)
            config = train_command.read(["--config", f"table2/{name}-l16", "--data.root", "CIFAR10"])
            (folder / "config.yaml").write_text(yaml.safe_dump(_plain(config)))
            row_of = {"epoch": 300, "step": 1, "top1": top1 + seed * (row == "keepcutout"), "seconds": 1.0}
            (folder / "metrics.jsonl").write_text(json.dumps(row_of) + "\n")
            (folder / "run.json").write_text("{}")
    out = tmp_path / "out.json"
    argv = [
        "--table",
        "2",
        "--cell",
        "*cutout-l16",
        "--seeds",
        "0-1",
        "--runs",
        str(tmp_path),
        "--root",
        "CIFAR10",
    ]
    assert reproduce.main([*argv, "--json_file", str(out)]) == 0
    assert "+1.50 [-4.85, +7.85]" in capsys.readouterr().out
    cell = next(c for c in json.loads(out.read_text())["cells"] if c["row"] == "KeepCutout")
    assert cell["minus_plain"]["mean"] == pytest.approx(1.5)
    assert cell["minus_plain"]["seeds"] == 2


def test_listing_the_controls(capsys, tmp_path):
    assert reproduce.main(["--table", "2", "--list", "--controls", "--runs", str(tmp_path)]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert len(names) == 10 + 5 * len(CUT | MATCHED)
    assert "table2/keepcutout-area-matched-l24" in names


def _plain(config):
    return json.loads(json.dumps(asdict(config)))
