"""Documents for receipt printers, and the ESC/POS bytes that print them.

A document is plain data that the queue keeps; it becomes bytes when it is sent, for the width of the printer that takes
it. The commands are the ones that printers of every make know. python-escpos is not used: its last release is of 2023,
and it brings Pillow and eight other packages into the image for what are ten commands here.
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Literal, NotRequired, TypedDict

#: Characters in a line of the printers' standard font, by the width of the paper in mm.
COLUMNS = {58: 32, 80: 48}

#: The code page that printers call PC858: Western European with the euro sign.
_CODE_PAGE, _CODEC = 19, "cp858"
#: What French typography uses and the code page lacks.
_PLAIN = str.maketrans(
    {
        "\u00a0": " ", "\u202f": " ", "\u2009": " ", "’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-",
        "…": "...", "œ": "oe", "Œ": "OE", "−": "-", "→": ">", "•": "*",
    }
)  # fmt: skip

INIT = b"\x1b@"
CUT = b"\x1dVB\x00"
#: A pulse of 50 ms on the drawer's first pin.
DRAWER = b"\x1bp\x00\x19\xfa"
#: Asks for the printer's state and for its paper; answered at once, one byte each.
ASK_STATE, ASK_PAPER = b"\x10\x04\x01", b"\x10\x04\x04"
#: Asks for the paper's state after all that was sent before is printed; answered by one byte.
ASK_DONE = b"\x1dr\x01"


class Block(TypedDict):
    """A part of a document: `text`, `row` (with `right` at the right edge), `rule`, or `drawer`, which opens it."""

    kind: Literal["text", "row", "rule", "drawer"]
    text: NotRequired[str]
    right: NotRequired[str]
    bold: NotRequired[bool]
    large: NotRequired[bool]
    center: NotRequired[bool]


Document = Sequence[Block]


def text(line: str, *, bold: bool = False, large: bool = False, center: bool = False) -> Block:
    """A paragraph; large letters are twice as high and as wide."""
    return {"kind": "text", "text": line, "bold": bold, "large": large, "center": center}


def row(left: str, right: str, *, bold: bool = False) -> Block:
    """Text with an amount at the right edge."""
    return {"kind": "row", "text": left, "right": right, "bold": bold}


def rule() -> Block:
    """A line across the paper."""
    return {"kind": "rule"}


def open_drawer() -> Block:
    """A pulse that opens the cash drawer at the printer."""
    return {"kind": "drawer"}


def encode(document: Iterable[Block], *, width: int) -> bytes:
    """The bytes that print `document` on paper of `width` mm and cut it; one that only opens the drawer uses none."""
    columns = COLUMNS[width]
    out = bytearray(INIT + b"\x1bt" + bytes([_CODE_PAGE]))
    printed = False
    for block in document:
        if block["kind"] == "drawer":
            out += DRAWER
            continue
        printed = True
        bold, large, center = block.get("bold", False), block.get("large", False), block.get("center", False)
        out += (
            b"\x1ba" + bytes([1 if center else 0]) + b"\x1bE" + bytes([bold]) + b"\x1d!" + bytes([0x11 if large else 0])
        )
        for line in _lines(block, columns // 2 if large else columns):
            out += line.encode(_CODEC, "replace") + b"\n"
    if printed:
        out += b"\x1ba\x00\x1bE\x00\x1d!\x00" + b"\x1bd\x03" + CUT
    return bytes(out)


def printable(line: str) -> str:
    """`line` in characters of the code page. Control characters, which a printer would obey, become spaces."""
    found = []
    for character in unicodedata.normalize("NFC", line).translate(_PLAIN):
        if unicodedata.category(character)[0] == "C" or character == "\x7f":
            found.append(" ")
            continue
        if not _known(character):
            bare = "".join(part for part in unicodedata.normalize("NFKD", character) if not unicodedata.combining(part))
            character = "".join(part if _known(part) else "?" for part in bare) or "?"
        found.append(character)
    return "".join(found)


def _known(character: str) -> bool:
    try:
        character.encode(_CODEC)
    except UnicodeEncodeError:
        return False
    return True


def _lines(block: Block, columns: int) -> list[str]:
    if block["kind"] == "rule":
        return ["-" * columns]
    left, right = printable(block.get("text", "")), printable(block.get("right", ""))
    if block["kind"] == "text":
        return _wrap(left, columns)
    room = max(columns - len(right) - 1, columns // 3)
    first, *others = _wrap(left, room)
    if len(first) + 1 + len(right) > columns:
        return [first, *others, right[:columns].rjust(columns)]
    return [first + right.rjust(columns - len(first)), *others]


def _wrap(line: str, columns: int) -> list[str]:
    return [part for paragraph in line.split("\n") for part in textwrap.wrap(paragraph, columns) or [""]]
