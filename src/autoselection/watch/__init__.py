"""Looking at a study while it runs, after it, or at a copy of it, without touching it.

    folder of a study ──look──▶ Snapshot ──words──▶ Board ──▶ a page (``web``) or a terminal (``terminal``)

Looking takes no lock, writes nothing and asks the study's processes nothing: what is shown stands in the journal, of which
only what is new is read, and in the small files of :mod:`autoselection.activity`.
"""

from autoselection.watch.board import Board, board
from autoselection.watch.folder import StudyFolder
from autoselection.watch.snapshot import Snapshot, snapshot

__all__ = ["Board", "Snapshot", "StudyFolder", "board", "snapshot"]
