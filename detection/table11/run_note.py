"""The note that detection.run leaves in an OUTPUT_DIR: which backbone, which row, how many GPUs."""

import json
from pathlib import Path
from typing import Any

from engine.errors import UserError
from engine.files import write_json

RUN_NOTE = "keepaugment.json"


def write_note(folder: Path, note: dict[str, Any]) -> None:
    """Write the note.

    Args:
        folder: OUTPUT_DIR.
        note: plain values.
    """
    write_json(note, folder / RUN_NOTE)


def read_note(folder: Path) -> dict[str, Any]:
    """Read what detection.run noted in an OUTPUT_DIR; {} where it noted nothing.

    Raises:
        UserError: the note is damaged.
    """
    path = folder / RUN_NOTE
    if not path.is_file():
        return {}
    try:
        note = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid JSON: {error}") from error
    return note if isinstance(note, dict) else {}
