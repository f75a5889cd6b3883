import pickle

import pytest
import torch
from torch import nn

from engine import checkpoint
from engine.errors import UserError


def test_round_trip_and_atomic_replacement(tmp_path, monkeypatch):
    path = tmp_path / "a.pth"
    checkpoint.save({"x": torch.arange(3), "n": 1}, path)

    def full(content, file):
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match="No space left.*unchanged"):
        checkpoint.save({"x": torch.zeros(3)}, path)
    monkeypatch.undo()
    assert checkpoint.load(path)["x"].tolist() == [0, 1, 2]
    assert [p.name for p in tmp_path.iterdir()] == ["a.pth"]


class Evil:
    def __reduce__(self):
        return (print, ("code ran",))


def test_bad_files(tmp_path, capsys):
    evil = tmp_path / "evil.pth"
    evil.write_bytes(pickle.dumps(Evil()))
    torn = tmp_path / "torn.pth"
    checkpoint.save({"x": torch.zeros(1000)}, torn)
    torn.write_bytes(torn.read_bytes()[:500])
    for path in (evil, torn, tmp_path / "none.pth"):
        with pytest.raises(UserError, match=path.name):
            checkpoint.load(path)
    assert "code ran" not in capsys.readouterr().out


def test_weights_of_another_architecture(tmp_path):
    with pytest.raises(UserError, match=r"1 missing.*1 unexpected.*1 of another shape"):
        checkpoint.load_weights(
            nn.Linear(2, 3), {"weight": torch.zeros(3, 4), "other": torch.zeros(1)}, tmp_path / "x.pth"
        )
