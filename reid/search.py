"""Find the photographs of a gallery that look like a query.

QUERY is a photograph or a folder of them; GALLERY a folder, or an .npz of ``python -m reid.extract``.
"""

import sys
from dataclasses import dataclass

from engine.command import command
from engine.parser import positional
from reid.config import Embedding


@dataclass(frozen=True)
class SearchOptions(Embedding):
    """Rank a gallery for query photographs.

    Attributes:
        checkpoint: .pth of reid.train, or its run folder (then last.pth).
        query: photograph, or folder of photographs.
        gallery: folder of photographs, or an .npz that reid.extract wrote with the same network.
        top: number of photographs to list for each query.
        threshold: smallest cosine similarity to list, in [-1, 1]; -1 lists all.
        json_file: file that also receives the lists; "" writes none.
        picture: .png or .jpg that receives the lists as pictures; "" draws none.
    """

    checkpoint: str = positional()
    query: str = positional()
    gallery: str = positional()
    top: int = 10
    threshold: float = -1.0
    json_file: str = ""
    picture: str = ""


main = command(SearchOptions, "reid.retrieval:search")

if __name__ == "__main__":
    sys.exit(main())
