"""Anchors: the signed entry of a closing as a short text, kept elsewhere, to which the journal must still lead."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Self

from sqlalchemy import select
from sqlalchemy.orm import Session

from restaurant.billing.models import EntryKind, JournalEntry

_TITLE = "restaurant journal anchor"


@dataclass(frozen=True)
class Anchor:
    """The entry of a closing in the journal. The signature is of the hash, which covers everything before it."""

    closing: int
    day: str
    perpetual_total: int
    entry: int
    hash: str
    key: str
    signature: str

    def __str__(self) -> str:
        return "\n".join([_TITLE, *(f"{name}: {value}" for name, value in asdict(self).items())]) + "\n"

    @classmethod
    def read(cls, text: str) -> Self:
        """The anchor in a text. Raises `ValueError` when it is not one."""
        title, *lines = text.strip().splitlines() or [""]
        found = {name: value.strip() for name, _colon, value in (line.partition(":") for line in lines)}
        if title != _TITLE or set(found) != set(cls.__dataclass_fields__):
            raise ValueError("not an anchor of the journal")
        numbers = {name: int(found[name]) for name in ("closing", "perpetual_total", "entry")}
        return cls(**{**found, **numbers})  # type: ignore[arg-type]


def read_anchor(session: Session, closing: int) -> Anchor | None:
    """The anchor of a closing, None if the journal has no entry of it."""
    entry = session.scalar(
        select(JournalEntry)
        .where(JournalEntry.kind == EntryKind.CLOSING)
        .order_by(JournalEntry.number)
        .offset(closing - 1)
        .limit(1)
    )
    if entry is None or (content := json.loads(entry.content))["number"] != closing:
        return None
    return Anchor(
        closing=closing, day=content["day"], perpetual_total=content["perpetual_total"], entry=entry.number,
        hash=entry.hash, key=entry.key or "", signature=entry.signature or "",
    )  # fmt: skip
