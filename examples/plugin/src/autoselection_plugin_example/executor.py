"""An executor of one's own: each evaluation is a folder and a command, as a batch system wants it.

``prefix`` is what stands in front of the command: ``[srun, --gpus=1]`` runs evaluations on a Slurm cluster whose nodes see
the folder, the pool and the model; nothing runs them here. Register it in ``pyproject.toml``::

    [project.entry-points."autoselection.executors"]
    folders = "autoselection_plugin_example.executor:FolderExecutor"
"""

from __future__ import annotations

import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from autoselection.errors import AutoSelectionError
from autoselection.evaluation import EvaluationJob, EvaluationResult, evaluate
from autoselection.executors import Executor, ExecutorConfig
from autoselection.executors.contract import run_jobs
from autoselection.schema import StrictModel

_POLL_SECONDS = 0.1


class FolderOptions(StrictModel):
    """Executor folders: each evaluation by a command of its own."""

    prefix: tuple[str, ...] = Field((), description="What stands in front of the command, such as [srun, --gpus=1].")


class FolderExecutor(Executor):
    """Writes a job into a folder, runs a command there, and reads what it leaves."""

    options = FolderOptions

    def __init__(self, config: ExecutorConfig, options: FolderOptions) -> None:
        self.config, self.own = config, options
        self._running: dict[int, tuple[subprocess.Popen[bytes], Path]] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._started = 0

    def run(self, jobs: Sequence[EvaluationJob]) -> Iterator[tuple[int, EvaluationResult]]:
        """Run the jobs, ``workers`` at once; lost ones run again."""
        config = self.config
        return run_jobs(self, jobs, workers=config.workers, retries=config.retries)

    def start(self, job: EvaluationJob) -> int:
        """Write a job down, and start its command."""
        self._folder = self._folder or tempfile.TemporaryDirectory(prefix="evaluations-")
        self._started += 1
        folder = Path(self._folder.name) / f"{self._started:04}"
        folder.mkdir()
        (folder / "job.pickle").write_bytes(pickle.dumps(job))
        command = [*self.own.prefix, sys.executable, "-m", __name__, str(folder)]
        with (folder / "output.txt").open("wb") as output:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        self._running[self._started] = process, folder
        return self._started

    def finished(self, running: Sequence[int]) -> list[tuple[int, EvaluationResult | str]]:
        """Wait until a command ends; without a result, its evaluation was lost."""
        while not (ended := [number for number in running if self._running[number][0].poll() is not None]):
            time.sleep(_POLL_SECONDS)
        return [(number, self._result(*self._running.pop(number))) for number in ended]

    def _result(self, process: subprocess.Popen[bytes], folder: Path) -> EvaluationResult | str:
        try:
            found: Any = pickle.loads((folder / "result.pickle").read_bytes())
        except FileNotFoundError:
            said = (folder / "output.txt").read_text(encoding="utf-8", errors="replace").split("\n")
            last = next((line for line in reversed(said) if line.strip()), "it said nothing")
            return f"the command of an evaluation ended with {process.returncode}: {last[:200]}"
        if isinstance(found, AutoSelectionError):
            raise found
        return found  # type: ignore[no-any-return]

    def close(self) -> None:
        """End the commands, and remove the folders."""
        for process, _ in self._running.values():
            process.terminate()
            process.wait()
        self._running.clear()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


def main(folder: Path) -> None:
    """What the command does: evaluate the job of a folder."""
    job = pickle.loads((folder / "job.pickle").read_bytes())
    found: EvaluationResult | AutoSelectionError
    try:
        found = evaluate(job)
    except AutoSelectionError as error:
        found = error
    whole = folder / "result.part"
    whole.write_bytes(pickle.dumps(found))
    whole.rename(folder / "result.pickle")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
