"""Rooms and tables. What a table is doing is derived from its order and bookings; only its condition is stored."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from restaurant.database import Base
from restaurant.types import Labelled, choice


class Shape(Labelled):
    """How a table is drawn."""

    ROUND = "round"
    SQUARE = "square"


class Condition(Labelled):
    """What keeps a table from being used."""

    USABLE = "usable"
    CLEANING = "cleaning"
    OUT_OF_SERVICE = "out_of_service"


class TableState(Labelled):
    """What a table is doing now."""

    FREE = "free"
    RESERVED_SOON = "reserved_soon"
    SEATED = "seated"
    ORDERED = "ordered"
    TO_BILL = "to_bill"
    LATE = "late"
    CLEANING = "cleaning"
    OUT_OF_SERVICE = "out_of_service"


class Room(Base):
    """A room or terrace, drawn as one plan."""

    __tablename__ = "room"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80), unique=True)
    position: Mapped[int] = mapped_column(default=0)
    version: Mapped[int] = mapped_column(server_default="1")
    tables: Mapped[list[Table]] = relationship(back_populates="room", passive_deletes="all")

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  # SQLAlchemy reads it from the class


class Table(Base):
    """A table on its room's plan: position and size are in centimeters."""

    __tablename__ = "dining_table"
    __table_args__ = (
        CheckConstraint("seats_min >= 1 AND seats_min <= seats_max", name="seats"),
        CheckConstraint("merged_into_id IS NULL OR merged_into_id <> id", name="not_into_itself"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    room_id: Mapped[int] = mapped_column(ForeignKey("room.id"), index=True)
    name: Mapped[str] = mapped_column(String(20), unique=True)
    shape: Mapped[Shape] = mapped_column(choice(Shape))
    seats_min: Mapped[int] = mapped_column()
    seats_max: Mapped[int] = mapped_column()
    x: Mapped[int] = mapped_column()
    y: Mapped[int] = mapped_column()
    width: Mapped[int] = mapped_column()
    height: Mapped[int] = mapped_column()
    condition: Mapped[Condition] = mapped_column(choice(Condition), default=Condition.USABLE)
    merged_into_id: Mapped[int | None] = mapped_column(ForeignKey("dining_table.id"), index=True)
    code_number: Mapped[int] = mapped_column(default=1, server_default="1")
    """The number of its present code, which its QR code has; those before are revoked."""
    version: Mapped[int] = mapped_column()

    room: Mapped[Room] = relationship(back_populates="tables")

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  # SQLAlchemy reads it from the class
