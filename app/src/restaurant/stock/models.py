"""Ingredients, recipes, and every movement of the stock. Quantities are whole grams, millilitres or pieces."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from restaurant.database import Base
from restaurant.people.models import User
from restaurant.types import Labelled, Moment, choice, now


class Unit(Labelled):
    """What a quantity counts."""

    GRAM = "gram"
    MILLILITRE = "millilitre"
    PIECE = "piece"


class MovementReason(Labelled):
    """Why a stock changed."""

    SOLD = "sold"
    RETURNED = "returned"
    DELIVERED = "delivered"
    WASTED = "wasted"
    COUNTED = "counted"


class Ingredient(Base):
    """Something dishes are made of. The database refuses a quantity below zero."""

    __tablename__ = "ingredient"
    __table_args__ = (CheckConstraint("quantity >= 0 AND low_at >= 0", name="quantity_not_negative"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80), unique=True)
    unit: Mapped[Unit] = mapped_column(choice(Unit))
    quantity: Mapped[int] = mapped_column()
    low_at: Mapped[int] = mapped_column()
    version: Mapped[int] = mapped_column(server_default="1")

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  # SQLAlchemy reads it from the class


class RecipeLine(Base):
    """How much of an ingredient one portion of a dish takes."""

    __tablename__ = "recipe_line"
    __table_args__ = (CheckConstraint("quantity > 0", name="quantity_positive"),)

    dish_id: Mapped[int] = mapped_column(ForeignKey("dish.id", ondelete="CASCADE"), primary_key=True)
    ingredient_id: Mapped[int] = mapped_column(ForeignKey("ingredient.id"), primary_key=True, index=True)
    quantity: Mapped[int] = mapped_column()
    ingredient: Mapped[Ingredient] = relationship()


class Movement(Base):
    """A change of a stock; the sum of an ingredient's movements is its quantity."""

    __tablename__ = "stock_movement"

    id: Mapped[int] = mapped_column(primary_key=True)
    ingredient_id: Mapped[int] = mapped_column(ForeignKey("ingredient.id"), index=True)
    delta: Mapped[int] = mapped_column()
    reason: Mapped[MovementReason] = mapped_column(choice(MovementReason))
    line_id: Mapped[int | None] = mapped_column(ForeignKey("order_line.id", ondelete="SET NULL"), index=True)
    by_id: Mapped[int | None] = mapped_column(ForeignKey("staff.id"))
    created_at: Mapped[datetime] = mapped_column(Moment, default=now)

    by: Mapped[User | None] = relationship()
