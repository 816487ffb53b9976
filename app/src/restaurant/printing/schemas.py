"""What the API takes and says about printers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from restaurant.http.paging import PageQuery, PageView
from restaurant.menu.models import Station
from restaurant.printing.models import JobKind, JobStatus, Printer, Trouble
from restaurant.types import Key, Name

Host = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=120, pattern=r"^([A-Za-z0-9][A-Za-z0-9.-]*|[0-9a-fA-F:]+)$"),
]


class PrinterChange(BaseModel):
    """A printer in the network, with what it prints."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[Name, Field(max_length=40)]
    host: Host
    port: Annotated[int, Field(ge=1, le=65535)] = 9100
    width: Literal[58, 80] = 80
    stations: Annotated[list[Station], Field(max_length=10)] = []
    receipts: bool = False
    drawer: bool = False


class PrinterView(BaseModel):
    """A printer and how it fares."""

    id: int
    name: str
    host: str
    port: int
    width: int
    stations: list[Station]
    receipts: bool
    drawer: bool
    waiting: int
    failing_since: datetime | None
    trouble: Trouble | None
    printed_at: datetime | None
    version: int

    @classmethod
    def of(cls, printer: Printer, *, waiting: int) -> PrinterView:
        """The view of a printer."""
        plain = {name: getattr(printer, name) for name in cls.model_fields if name != "waiting"}
        return cls(**plain, waiting=waiting)


class PrintersView(BaseModel):
    """All printers, by name."""

    items: list[PrinterView]


class JobsQuery(PageQuery):
    """All jobs, or those that wait."""

    waiting: bool = False


class JobView(BaseModel):
    """Something to print."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    printer_id: int
    kind: JobKind
    title: str
    status: JobStatus
    attempts: int
    created_at: datetime
    printed_at: datetime | None


class JobsView(PageView):
    """A page of the print jobs, newest first."""

    items: list[JobView]


class PrinterChoice(BaseModel):
    """The printer to print with."""

    model_config = ConfigDict(extra="forbid")

    printer: Key
