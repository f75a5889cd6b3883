import json

import pytest
import yaml

from engine.errors import UserError
from experiments.statistics import mean_std
from pretrain import reproduce
from pretrain.grid import GRID
from pretrain.train import main as train_command


def test_every_cell_is_a_recipe_of_its_own_name():
    cells = GRID.cells
    assert len(cells) > 100
    assert {cell.table for cell in cells} >= {f"table{i}" for i in range(1, 9)} | {"figure2", "figure3"}
    assert len({cell.name for cell in cells}) == len(cells)
    for cell in cells:
        assert cell.recipe().startswith("# ")
        assert yaml.safe_load(cell.recipe()) == cell.config


def test_a_cell_by_name_on_the_command_line():
    config = train_command.read(["--config", "table2/keepcutout-l20", "--seed", "3"])
    assert (config.augment.length, config.augment.selective, config.seed) == (20, True, 3)
    with pytest.raises(UserError, match="did you mean 'table2/keepcutout-l20'"):
        train_command.read(["--config", "table2/keepcutot-l20"])


def test_published_numbers_stand_where_the_paper_has_them():
    paper = {cell.name: cell.paper for cell in GRID.cells}
    assert paper["table1/keepcutout-low-resolution-resnet-18"] == "96.2±0.1"
    assert paper["table1/keepautoaugment-early-loss-shake-shake"] == "97.7±0.1"
    assert paper["table3/keepautoaugment-m24"] == "97.8±0.1"
    assert paper["table5/keepcutmix-low-resolution-resnet-101"] == "80.3"
    assert paper["table8/autoaugment-360-epochs"] == "77.63"
    assert "table5/droppath-resnet-101" not in paper


def test_cells_with_one_recipe_share_their_runs():
    by_name = {cell.name: cell for cell in GRID.cells}
    assert GRID.home(by_name["table2/cutout-l16"]) == "table1/cutout-resnet-18"
    assert GRID.home(by_name["table6/keepcutout-resnet-110"]) == "table1/keepcutout-resnet-110"
    assert GRID.home(by_name["table2/cutout-l8"]) == "table2/cutout-l8"


def test_listing_shows_every_cell_on_a_line_of_its_own(capsys, tmp_path):
    assert reproduce.main(["--list", "--runs", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [cell.name for cell in GRID.cells]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "choose one"),
        (["--table", "12"], "choose from"),
        (["--table", "2", "--cell", "cutout-l17"], "did you mean 'cutout-l1"),
        (["--table", "2", "--seeds", "x"], "seeds must look like"),
        (["--table", "2"], "pass the data folder with --root"),
    ],
)
def test_mistakes(argv, message, capsys, tmp_path):
    assert reproduce.main([*argv, "--runs", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.slow
def test_runs_what_is_missing_and_nothing_twice(class_folders, tmp_path, capfd):
    table = tmp_path / "mine.yaml"
    base = {
        "epochs": 1,
        "data": {"dataset": "folder", "image_size": 16, "batch_size": 8, "workers": 0},
        "model": {"name": "wrn_10_1"},
    }
    rows = {"plain": {}, "keep": {"augment": {"op": "cutout", "length": 4}}}
    table.write_text(yaml.safe_dump({"blocks": [{"base": base, "columns": {"": {}}, "rows": rows}]}))
    argv = [
        "--table",
        str(table),
        "--seeds",
        "0-1",
        "--runs",
        str(tmp_path / "runs"),
        "--root",
        str(class_folders),
    ]
    argv += ["--options", "--device cpu", "--json_file", str(tmp_path / "out.json")]
    assert reproduce.main(argv) == 0
    assert capfd.readouterr().err.count("running ") == 4
    numbers = json.loads((tmp_path / "out.json").read_text())["cells"]
    assert [len(cell["last"]) for cell in numbers] == [2, 2]
    assert numbers[0]["row"] == "keep"
    assert numbers[0]["logs"]["box_area_share"] > 0
    assert str(tmp_path) not in (tmp_path / "out.json").read_text()
    assert reproduce.main(argv) == 0
    said = capfd.readouterr()
    assert "running" not in said.err
    assert "plain" in said.out
    assert reproduce.main([*argv, "--options", "--device cpu --optim.lr 0.3"]) == 2
    assert "was run with different options (optim.lr 0.1 instead of 0.3)" in capfd.readouterr().err


def test_means_and_spreads():
    assert mean_std([]) == "-"
    assert mean_std([95.0]) == "95.00"
    assert mean_std([95.0, 96.0]) == "95.50 ± 0.71"
