"""The hours of the week and the days that differ from it. Without a row, the week is that of the settings."""

from __future__ import annotations

from datetime import date

from sqlalchemy import JSON, CheckConstraint, Date, String
from sqlalchemy.orm import Mapped, mapped_column

from restaurant.database import Base


class OpeningWeek(Base):
    """The hours of each weekday, Monday first, as `hours.write_hours` writes them. There is one row at most."""

    __tablename__ = "opening_week"
    __table_args__ = (CheckConstraint("id = 1", name="one"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, default=1)
    bookings: Mapped[list[str]] = mapped_column(JSON)
    take_away: Mapped[list[str]] = mapped_column(JSON)
    version: Mapped[int] = mapped_column()

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  # SQLAlchemy reads it from the class


class SpecialPeriod(Base):
    """Days with hours of their own, such as holidays; without any, the restaurant is closed."""

    __tablename__ = "special_period"
    __table_args__ = (CheckConstraint("first_day <= last_day", name="order"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    first_day: Mapped[date] = mapped_column(Date)
    last_day: Mapped[date] = mapped_column(Date, index=True)
    name: Mapped[str] = mapped_column(String(80))
    bookings: Mapped[str] = mapped_column(String(120))
    take_away: Mapped[str] = mapped_column(String(120))
    version: Mapped[int] = mapped_column()

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  # SQLAlchemy reads it from the class
