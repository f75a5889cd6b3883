"""The note that detection.run writes to an OUTPUT_DIR: backbone, row, and number of GPUs."""

from pathlib import Path
from typing import Any

from engine.files import read_json, write_json

RUN_NOTE = "keepaugment.json"


def write_note(folder: Path, note: dict[str, Any]) -> None:
    """Write the note.

    Args:
        folder: OUTPUT_DIR of train_net.py.
        note: plain values to write.
    """
    write_json(note, folder / RUN_NOTE)


def read_note(folder: Path) -> dict[str, Any]:
    """Read the note of detection.run in an OUTPUT_DIR; {} if there is none.

    Raises:
        UserError: the note is damaged.
    """
    path = folder / RUN_NOTE
    if not path.is_file():
        return {}
    note = read_json(path)
    return note if isinstance(note, dict) else {}
