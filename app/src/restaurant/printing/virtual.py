"""A printer without paper: it understands what is sent to a receipt printer, and draws the paper as a picture (SVG).

It reads bytes as a printer does, so a picture shows what would be printed, and nothing that the commands do not say. An
unknown command is an error: a real printer would print it as rubbish.
"""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from types import TracebackType
from typing import Self

from restaurant.printing.escpos import COLUMNS

#: The size of a character of the standard font, in dots.
_WIDTH, _HEIGHT = 12, 24
_LINE = 30
_MARGIN = 24
#: What a healthy printer answers to questions about its state, and one whose paper has run out.
_FINE, _OFFLINE, _NO_PAPER = 0x12, 0x1A, 0x72


@dataclass(frozen=True)
class Run:
    """Characters of one style in a line."""

    text: str
    bold: bool
    wide: int
    high: int


@dataclass
class Line:
    """A printed line."""

    runs: list[Run] = field(default_factory=list)
    centered: bool = False

    @property
    def text(self) -> str:
        """What one reads."""
        return "".join(run.text for run in self.runs)

    @property
    def cells(self) -> int:
        """How many columns it takes."""
        return sum(len(run.text) * run.wide for run in self.runs)


@dataclass
class Paper:
    """What came out of the printer: lines up to each cut, and how often the drawer was opened."""

    width: int
    sheets: list[list[Line]] = field(default_factory=list)
    drawer: int = 0

    @property
    def text(self) -> str:
        """All that is printed, as text."""
        return "\n".join(line.text for sheet in self.sheets for line in sheet)


class _Reader:
    """The state of a printer while it reads."""

    def __init__(self, data: bytes, *, width: int) -> None:
        self.data, self.at = data, 0
        self.paper = Paper(width)
        self.sheet: list[Line] = []
        self.line = Line()
        self.codec = "cp437"
        self.bold, self.wide, self.high, self.center = False, 1, 1, False

    def take(self, count: int = 1) -> bytes:
        found = self.data[self.at : self.at + count]
        if len(found) < count:
            raise ValueError("the data ends in the middle of a command")
        self.at += count
        return found

    def put(self, character: str) -> None:
        # A printer breaks a line that is full.
        if self.line.cells + self.wide > COLUMNS[self.paper.width]:
            self.feed()
        self.line.runs.append(Run(character, self.bold, self.wide, self.high))

    def feed(self) -> None:
        self.line.centered = self.center
        self.sheet.append(self.line)
        self.line = Line()

    def cut(self) -> None:
        if self.line.runs:
            self.feed()
        self.paper.sheets.append(self.sheet)
        self.sheet = []


def read(data: bytes, *, width: int) -> Paper:
    """What a printer for paper of `width` mm makes of `data`. Raises `ValueError` for a command it does not know."""
    reader = _Reader(data, width=width)
    while reader.at < len(data):
        byte = reader.take()
        if byte == b"\n":
            reader.feed()
        elif byte in {b"\x1b", b"\x1d", b"\x10"}:
            _obey(reader, byte + reader.take())
        elif byte[0] < 0x20:
            raise ValueError(f"unknown control character {byte!r} at {reader.at - 1}")
        else:
            reader.put(byte.decode(reader.codec))
    if reader.sheet or reader.line.runs:
        reader.cut()
    return reader.paper


def _obey(reader: _Reader, command: bytes) -> None:
    match command:
        case b"\x1b@":
            reader.bold, reader.wide, reader.high, reader.center, reader.codec = False, 1, 1, False, "cp437"
        case b"\x1bt":
            reader.codec = {0: "cp437", 19: "cp858"}[reader.take()[0]]
        case b"\x1ba":
            reader.center = reader.take() == b"\x01"
        case b"\x1bE":
            reader.bold = bool(reader.take()[0] & 1)
        case b"\x1d!":
            size = reader.take()[0]
            reader.wide, reader.high = (size >> 4) + 1, (size & 7) + 1
        case b"\x1bd":
            for _line in range(reader.take()[0]):
                reader.feed()
        case b"\x1dV":
            if reader.take() in {b"A", b"B"}:
                reader.take()
            reader.cut()
        case b"\x1bp":
            reader.take(3)
            reader.paper.drawer += 1
        case b"\x10\x04" | b"\x1dr":
            reader.take()
        case _:
            raise ValueError(f"unknown command {command!r} at {reader.at - 2}")


def draw(paper: Paper) -> str:
    """The paper as an SVG picture at the printer's own resolution, one sheet below the other."""
    full = COLUMNS[paper.width] * _WIDTH
    parts: list[str] = []
    top = _MARGIN
    for sheet in paper.sheets:
        height = sum(_LINE * max((run.high for run in line.runs), default=1) for line in sheet) + 2 * _MARGIN
        parts.append(
            f'<rect x="{_MARGIN}" y="{top}" width="{full + 2 * _MARGIN}" height="{height}"'
            ' fill="#fffef8" stroke="#c9c2b5"/>'
        )
        y = top + _MARGIN
        for line in sheet:
            high = max((run.high for run in line.runs), default=1)
            y += _LINE * high
            x = 2 * _MARGIN + ((full - line.cells * _WIDTH) // 2 if line.centered else 0)
            for run in _joined(line.runs):
                size = len(run.text) * run.wide * _WIDTH
                weight = ' font-weight="700"' if run.bold else ""
                if run.text.strip():
                    parts.append(
                        f'<text transform="translate({x} {y - 8 * high}) scale({run.wide} {run.high})"'
                        f' xml:space="preserve" textLength="{len(run.text) * _WIDTH}"'
                        f' lengthAdjust="spacingAndGlyphs"{weight}>{escape(run.text)}</text>'
                    )
                x += size
        top += height + _MARGIN
    if paper.drawer:
        parts.append(f'<text x="{2 * _MARGIN}" y="{top + _HEIGHT}">[cash drawer opened: {paper.drawer}]</text>')
        top += 2 * _HEIGHT
    width = full + 4 * _MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" width="{width}" height="{top}"'
        f' font-family="DejaVu Sans Mono, Liberation Mono, monospace" font-size="{_WIDTH / 0.602:.1f}" fill="#1a1a1a">'
        f'<rect width="{width}" height="{top}" fill="#8a8378"/>{"".join(parts)}</svg>'
    )


def _joined(runs: list[Run]) -> list[Run]:
    """Neighbors of one style as one."""
    found: list[Run] = []
    for run in runs:
        if found and (found[-1].bold, found[-1].wide, found[-1].high) == (run.bold, run.wide, run.high):
            found[-1] = Run(found[-1].text + run.text, run.bold, run.wide, run.high)
        else:
            found.append(run)
    return found


class VirtualPrinter:
    """A printer on a TCP port, until the end of the block. It can be out of paper, or silent when it is asked."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0, *, taken: Callable[[bytes], None] | None = None) -> None:
        self.jobs: list[bytes] = []
        self.paper = True
        self.answers = True
        self.breaks = False
        """Whether it breaks the connection in the middle of what it gets."""
        self._open = 0
        self._changed = threading.Condition()
        printer = self

        class Handler(socketserver.BaseRequestHandler):
            def setup(self) -> None:
                with printer._changed:
                    printer._open += 1

            def finish(self) -> None:
                with printer._changed:
                    printer._open -= 1
                    printer._changed.notify_all()

            def handle(self) -> None:
                got = bytearray()
                while data := self.request.recv(65_536):
                    got += data
                    if printer.breaks and len(got) > 40:
                        return
                    printer.answer(self.request.sendall, data)
                kept = bytes(got).replace(b"\x10\x04\x01", b"").replace(b"\x10\x04\x04", b"")
                if kept and printer.paper:
                    printer.jobs.append(kept)
                    if taken is not None:
                        taken(kept)

        socketserver.ThreadingTCPServer.allow_reuse_address = True
        self._server = socketserver.ThreadingTCPServer((host, port), Handler)
        self._server.daemon_threads = True
        self.host, self.port = self._server.server_address[:2]

    def answer(self, send: Callable[[bytes], None], data: bytes) -> None:
        """Answer the questions in `data`."""
        if not self.answers:
            return
        replies = bytearray()
        if b"\x10\x04\x01" in data:
            replies.append(_FINE if self.paper else _OFFLINE)
        if b"\x10\x04\x04" in data:
            replies.append(_FINE if self.paper else _NO_PAPER)
        if b"\x1dr\x01" in data and self.paper:
            replies.append(0)
        if replies:
            send(bytes(replies))

    def settled(self) -> list[bytes]:
        """What was printed, once no connection is open."""
        with self._changed:
            self._changed.wait_for(lambda: self._open == 0, timeout=10)
        return self.jobs

    def run(self) -> None:
        """Print until the process is stopped."""
        self._server.serve_forever()

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
