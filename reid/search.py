"""Find the photographs in a gallery that are most similar to a query.

QUERY is a photograph or a folder of photographs; GALLERY is a folder or an .npz of ``python -m reid.extract``.
"""

import sys
from dataclasses import dataclass

from engine.command import command
from engine.parser import positional
from reid.config import Embedding


@dataclass(frozen=True)
class SearchOptions(Embedding):
    """Rank a gallery by similarity to query photographs.

    Attributes:
        checkpoint: .pth of reid.train, or its run folder (uses last.pth).
        query: photograph or folder of photographs.
        gallery: photograph, folder of photographs, or .npz written by reid.extract with the same network.
        top: maximum number of photographs to list for each query.
        threshold: smallest cosine similarity to list, in [-1, 1]; -1 lists all.
        json_file: JSON file to write the lists to, besides stdout; "" writes none.
        picture: .png or .jpg file to draw the lists to; "" draws none.
    """

    checkpoint: str = positional()
    query: str = positional()
    gallery: str = positional()
    top: int = 10
    threshold: float = -1.0
    json_file: str = ""
    picture: str = ""


main = command(SearchOptions, "reid.rank_gallery:search")

if __name__ == "__main__":
    sys.exit(main())
