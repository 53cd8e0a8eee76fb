"""``python -m website``: stage the pages, write the references, and build the site with Zensical."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from website.references import write_references
from website.staging import ROOT, SiteError, missing_from_navigation, stage

OUT = ROOT / "build" / "website"


def build(out: Path) -> None:
    """Write the site into ``out/site``.

    Raises:
        SiteError: a page links to what is not there, or stands nowhere in the navigation; or Zensical found a fault.
    """
    pages = stage(out)
    write_references(pages / "reference")
    if lacking := missing_from_navigation(out):
        raise SiteError(f"website/mkdocs.yml has no place in the navigation for: {', '.join(lacking)}")
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean", "-f", str(out / "mkdocs.yml")]
    paths = [str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]  # this package, and the sources beside it
    if subprocess.run(
        command, cwd=out, env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    ).returncode:
        raise SiteError("Zensical found faults in the pages: they are listed above.")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m website", description=build.__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the staged pages and the site")
    out = parser.parse_args().out.resolve()
    try:
        build(out)
    except SiteError as error:
        sys.exit(str(error))
    print(f"Open {out / 'site' / 'index.html'}, or serve it: python -m http.server -d {out / 'site'}")


if __name__ == "__main__":
    main()
