"""The menu: categories of dishes, their options, allergens, stations and availability."""

from __future__ import annotations

from datetime import time

from sqlalchemy import CheckConstraint, ForeignKey, String, Time, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from restaurant.database import Base
from restaurant.types import Labelled, choice


class Allergen(Labelled):
    """The fourteen allergens of regulation (EU) 1169/2011, annex II."""

    GLUTEN = "gluten"
    CRUSTACEANS = "crustaceans"
    EGGS = "eggs"
    FISH = "fish"
    PEANUTS = "peanuts"
    SOYBEANS = "soybeans"
    MILK = "milk"
    NUTS = "nuts"
    CELERY = "celery"
    MUSTARD = "mustard"
    SESAME = "sesame"
    SULPHITES = "sulphites"
    LUPIN = "lupin"
    MOLLUSCS = "molluscs"


class Station(Labelled):
    """The station that prepares a dish."""

    COLD = "cold"
    HOT = "hot"
    PASTRY = "pastry"
    BAR = "bar"


class Course(Labelled):
    """When in a meal a dish is served, in this order."""

    DRINK = "drink"
    STARTER = "starter"
    MAIN = "main"
    DESSERT = "dessert"


class Revision(Base):
    """The number of changes of the menu. Database triggers count them, so no writer is missed."""

    __tablename__ = "revision"

    name: Mapped[str] = mapped_column(String(24), primary_key=True)
    number: Mapped[int] = mapped_column()


class Category(Base):
    """A heading of the menu."""

    __tablename__ = "category"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80), unique=True)
    name_en: Mapped[str | None] = mapped_column(String(80))
    position: Mapped[int] = mapped_column(default=0)
    version: Mapped[int] = mapped_column(server_default="1")
    dishes: Mapped[list[Dish]] = relationship(back_populates="category", order_by="Dish.position, Dish.id")

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  # SQLAlchemy reads it from the class


class Dish(Base):
    """Something a guest can order. Prices are cents with tax; VAT rates depend on where it is eaten."""

    __tablename__ = "dish"
    __table_args__ = (
        UniqueConstraint("category_id", "name"),
        CheckConstraint("price >= 0", name="price_not_negative"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    category_id: Mapped[int] = mapped_column(ForeignKey("category.id"), index=True)
    name: Mapped[str] = mapped_column(String(80))
    name_en: Mapped[str | None] = mapped_column(String(80))
    description: Mapped[str] = mapped_column(String(500), default="")
    description_en: Mapped[str | None] = mapped_column(String(500))
    position: Mapped[int] = mapped_column(default=0)
    price: Mapped[int]
    vat_dine_in: Mapped[int] = mapped_column(default=1000)
    vat_take_away: Mapped[int] = mapped_column(default=1000)
    station: Mapped[Station] = mapped_column(choice(Station))
    course: Mapped[Course] = mapped_column(choice(Course))
    available_from: Mapped[time | None] = mapped_column(Time)
    available_until: Mapped[time | None] = mapped_column(Time)
    out_of_stock: Mapped[bool] = mapped_column(default=False)
    archived: Mapped[bool] = mapped_column(default=False)
    version: Mapped[int] = mapped_column()

    category: Mapped[Category] = relationship(back_populates="dishes")
    allergens: Mapped[list[DishAllergen]] = relationship(cascade="all, delete-orphan", order_by="DishAllergen.allergen")
    option_groups: Mapped[list[OptionGroup]] = relationship(
        cascade="all, delete-orphan", order_by="OptionGroup.position, OptionGroup.id"
    )

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  # SQLAlchemy reads it from the class


class DishAllergen(Base):
    """A dish contains an allergen."""

    __tablename__ = "dish_allergen"

    dish_id: Mapped[int] = mapped_column(ForeignKey("dish.id", ondelete="CASCADE"), primary_key=True)
    allergen: Mapped[Allergen] = mapped_column(choice(Allergen), primary_key=True)


class OptionGroup(Base):
    """A group of options of a dish (cooking, side), of which `minimum` to `maximum` are chosen."""

    __tablename__ = "option_group"
    __table_args__ = (
        CheckConstraint("minimum >= 0 AND maximum >= 1 AND minimum <= maximum", name="minimum_within_maximum"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    dish_id: Mapped[int] = mapped_column(ForeignKey("dish.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(80))
    name_en: Mapped[str | None] = mapped_column(String(80))
    position: Mapped[int] = mapped_column(default=0)
    minimum: Mapped[int] = mapped_column(default=0)
    maximum: Mapped[int] = mapped_column(default=1)
    options: Mapped[list[Option]] = relationship(cascade="all, delete-orphan", order_by="Option.position, Option.id")


class Option(Base):
    """One answer of an option group, at an extra price in cents (which may be zero)."""

    __tablename__ = "option"
    __table_args__ = (CheckConstraint("price >= 0", name="price_not_negative"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    group_id: Mapped[int] = mapped_column(ForeignKey("option_group.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(80))
    name_en: Mapped[str | None] = mapped_column(String(80))
    position: Mapped[int] = mapped_column(default=0)
    price: Mapped[int] = mapped_column(default=0)
