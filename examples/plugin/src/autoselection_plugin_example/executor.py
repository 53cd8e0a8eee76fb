"""An executor of one's own: each evaluation is a folder and a command, as a batch system wants it.

``prefix`` is what stands in front of the command: ``[srun, --gpus=1]`` runs evaluations on a Slurm cluster whose nodes see
the study's folder, the pool and the model. The folder is in the evaluation's own one, in ``STUDY/work/``. A command ends by itself when
its input ends, as it does when the study is killed; a prefix has to hand its input on for that, as ``srun`` does. Register it in ``pyproject.toml``::

    [project.entry-points."autoselection.executors"]
    folders = "autoselection_plugin_example.executor:FolderExecutor"
"""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import Field

from autoselection.errors import AutoSelectionError
from autoselection.evaluation import EvaluationJob, EvaluationResult, evaluate
from autoselection.executors import Executor, ExecutorConfig
from autoselection.executors.contract import run_jobs
from autoselection.schema import StrictModel

_POLL_SECONDS = 0.1
#: How long a command may take to end when it is told to (s); then it is killed.
_PATIENCE = 10.0
_FOLDER = "command"


class FolderOptions(StrictModel):
    """Executor folders: each evaluation by a command of its own."""

    prefix: tuple[str, ...] = Field((), description="What stands in front of the command, such as [srun, --gpus=1].")


class FolderExecutor(Executor):
    """Writes a job into a folder, runs a command there, and reads what it leaves."""

    options = FolderOptions

    def __init__(self, config: ExecutorConfig, options: FolderOptions) -> None:
        self.config, self.own = config, options
        self._running: dict[int, tuple[subprocess.Popen[bytes], Path]] = {}
        self._started = 0

    def run(self, jobs: Sequence[EvaluationJob]) -> Iterator[tuple[int, EvaluationResult]]:
        """Run the jobs, ``workers`` at once; lost ones run again."""
        config = self.config
        return run_jobs(self, jobs, workers=config.workers, retries=config.retries)

    def start(self, job: EvaluationJob) -> int:
        """Write a job down, and start its command."""
        self._started += 1
        folder = (job.work_dir / _FOLDER).absolute()
        shutil.rmtree(folder, ignore_errors=True)  # of a command that was lost
        folder.mkdir(parents=True)
        (folder / "job.pickle").write_bytes(pickle.dumps(job))
        command = [*self.own.prefix, sys.executable, "-m", __name__, str(folder)]
        with (folder / "output.txt").open("wb") as output:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT)
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # it ended at once, which ``finished`` tells
            process.stdin.write(b"\n")  # that it has an input, whose end it can see
            process.stdin.flush()
        self._running[self._started] = process, folder
        return self._started

    def finished(self, running: Sequence[int]) -> list[tuple[int, EvaluationResult | str | BaseException]]:
        """Wait until a command ends; without a result, its evaluation was lost. A mistake is handed back, not raised: others may
        have ended with it."""
        while not (ended := [number for number in running if self._running[number][0].poll() is not None]):
            time.sleep(_POLL_SECONDS)
        return [(number, self._outcome(*self._running.pop(number))) for number in ended]

    def _outcome(self, process: subprocess.Popen[bytes], folder: Path) -> EvaluationResult | str | BaseException:
        _close_input(process)
        try:
            found: EvaluationResult | BaseException = pickle.loads((folder / "result.pickle").read_bytes())
        except FileNotFoundError:
            said = (folder / "output.txt").read_text(encoding="utf-8", errors="replace").split("\n")
            last = next((line for line in reversed(said) if line.strip()), "it said nothing")
            return f"the command of an evaluation ended with {process.returncode}: {last[:200]}"
        shutil.rmtree(folder, ignore_errors=True)
        return found

    def close(self) -> None:
        """End the commands; their evaluations are lost."""
        commands = [process for process, _ in self._running.values()]
        self._running.clear()
        for process in commands:
            _close_input(process)
            process.terminate()
        latest = time.monotonic() + _PATIENCE
        for process in commands:
            try:
                process.wait(max(0.0, latest - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _close_input(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    with suppress(OSError):
        process.stdin.close()


def _end_with_input() -> None:
    """End this process when its input ends; where it never had one, nothing is known."""
    if os.read(0, 1):
        while os.read(0, 1024):
            pass
        os._exit(1)


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
    threading.Thread(target=_end_with_input, daemon=True).start()
    main(Path(sys.argv[1]))
