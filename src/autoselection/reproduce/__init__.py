"""The paper's tables from one configuration: main table, out of distribution, structural ablation, transfer."""

from autoselection.reproduce.compute import measure_reproduced_compute
from autoselection.reproduce.config import (
    SECTIONS,
    ReproductionConfig,
    load_reproduction,
    package_configs,
)
from autoselection.reproduce.diagnosis import diagnose_reproduction
from autoselection.reproduce.markdown import paper_sheet
from autoselection.reproduce.outputs import print_dry_run, print_paper
from autoselection.reproduce.paper import write_paper
from autoselection.reproduce.plan import planned
from autoselection.reproduce.preflight import dry_run
from autoselection.reproduce.run import run_reproduction

__all__ = [
    "SECTIONS",
    "ReproductionConfig",
    "diagnose_reproduction",
    "dry_run",
    "load_reproduction",
    "measure_reproduced_compute",
    "package_configs",
    "paper_sheet",
    "planned",
    "print_dry_run",
    "print_paper",
    "run_reproduction",
    "write_paper",
]
