import pytest
from pages import PAGES, ROOT, anchors, links


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page):
    broken = []
    for target in links(page.read_text(encoding="utf-8")):
        if "://" in target or target.startswith("mailto:"):
            continue
        name, _, anchor = target.partition("#")
        place = page if not name else (page.parent / name).resolve()
        if not place.exists():
            broken.append(f"{target}: no such file")
        elif anchor and anchor not in anchors(place.read_text(encoding="utf-8")):
            broken.append(f"{target}: no such heading")
    assert not broken
