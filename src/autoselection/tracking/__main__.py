"""The process that tracks a running study."""

import os

from autoselection.tracking.track import main

if __name__ == "__main__":
    if hasattr(os, "nice"):  # Windows has none
        os.nice(5)  # trainings first
    main()
