"""Excel workbooks, packed and bare: a damaged archive mostly ends at its checksums, so its parts are attacked too."""

from __future__ import annotations

import importlib.util
import io
import zipfile

from tests.fuzz.harness import Target, as_file
from tests.fuzz.targets.rows import read_rows

_OFFICE = "http://schemas.openxmlformats.org"
_MAIN, _LINKS = f"{_OFFICE}/spreadsheetml/2006/main", f"{_OFFICE}/officeDocument/2006/relationships"
_KIND = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_SHEET = (
    f'<worksheet xmlns="{_MAIN}"><sheetData><row r="1"><c r="A1" t="inlineStr"><is><t>prompt</t></is></c>'
    '<c r="B1" t="inlineStr"><is><t>completion</t></is></c></row><row r="2"><c r="A2" t="inlineStr"><is><t>q</t></is></c>'
    '<c r="B2"><v>4</v></c></row></sheetData></worksheet>'
).encode()


def _packed(sheet: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as book:
        book.writestr(
            "[Content_Types].xml",
            f'<Types xmlns="{_OFFICE}/package/2006/content-types"><Default Extension="rels" ContentType='
            '"application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/xl/workbook.xml" ContentType='
            f'"{_KIND}.sheet.main+xml"/><Override PartName="/xl/s.xml" ContentType="{_KIND}.worksheet+xml"/></Types>',
        )
        for place, kind, target in (("", "officeDocument", "xl/workbook.xml"), ("xl/", "worksheet", "s.xml")):
            name = f"{place}_rels/{'workbook.xml' if place else ''}.rels"
            relation = f'<Relationship Id="r1" Type="{_LINKS}/{kind}" Target="{target}"/>'
            book.writestr(
                name, f'<Relationships xmlns="{_OFFICE}/package/2006/relationships">{relation}</Relationships>'
            )
        book.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{_MAIN}" xmlns:r="{_LINKS}"><sheets><sheet name="S" sheetId="1" r:id="r1"/></sheets></workbook>',
        )
        book.writestr("xl/s.xml", sheet)
    return packed.getvalue()


def _parse(data: bytes) -> None:
    if importlib.util.find_spec("openpyxl") is None:
        return
    read_rows(as_file(data if data.startswith(b"PK") else _packed(data), "rows.xlsx"))


TARGET = Target(
    "workbook",
    _parse,
    (_SHEET, _packed(_SHEET)),
    (
        b"<c/>",
        b'<c r="ZZZ9999999">',
        b't="s"',
        b't="e"',
        b"<v>",
        b"</row>",
        b"<row>",
        b'<c r="A0"/>',
        b'<c t="d"><v>x</v></c>',
    ),
    share=0.1,
)
