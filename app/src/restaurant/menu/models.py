"""The menu: categories of dishes, their options, allergens, stations and availability."""

from __future__ import annotations

from datetime import time

from sqlalchemy import JSON, CheckConstraint, ForeignKey, String, Time, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from restaurant.database import Base
from restaurant.menu.schedule import Schedule
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


class SetMenu(Base):
    """A meal at one price in cents, for which guests choose one dish of each course."""

    __tablename__ = "set_menu"
    __table_args__ = (CheckConstraint("price >= 0", name="price_not_negative"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80), unique=True)
    name_en: Mapped[str | None] = mapped_column(String(80))
    description: Mapped[str] = mapped_column(String(500), default="")
    description_en: Mapped[str | None] = mapped_column(String(500))
    price: Mapped[int]
    days: Mapped[list[str]] = mapped_column(JSON, default=list)
    starts: Mapped[time | None] = mapped_column(Time)
    ends: Mapped[time | None] = mapped_column(Time)
    archived: Mapped[bool] = mapped_column(default=False)
    version: Mapped[int] = mapped_column()

    courses: Mapped[list[MenuCourse]] = relationship(
        cascade="all, delete-orphan", order_by="MenuCourse.position, MenuCourse.id"
    )

    @property
    def schedule(self) -> Schedule:
        """When it is offered."""
        return Schedule.of(self.days, self.starts, self.ends)

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  # SQLAlchemy reads it from the class


class MenuCourse(Base):
    """A course of a set menu, served as `course`."""

    __tablename__ = "menu_course"

    id: Mapped[int] = mapped_column(primary_key=True)
    set_menu_id: Mapped[int] = mapped_column(ForeignKey("set_menu.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(80))
    name_en: Mapped[str | None] = mapped_column(String(80))
    position: Mapped[int] = mapped_column(default=0)
    course: Mapped[Course] = mapped_column(choice(Course))

    choices: Mapped[list[MenuChoice]] = relationship(
        cascade="all, delete-orphan", order_by="MenuChoice.position, MenuChoice.id"
    )


class MenuChoice(Base):
    """A dish that can be chosen for a course, with a supplement in cents."""

    __tablename__ = "menu_choice"
    __table_args__ = (CheckConstraint("supplement >= 0", name="supplement_not_negative"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    course_id: Mapped[int] = mapped_column(ForeignKey("menu_course.id", ondelete="CASCADE"), index=True)
    dish_id: Mapped[int] = mapped_column(ForeignKey("dish.id"), index=True)
    position: Mapped[int] = mapped_column(default=0)
    supplement: Mapped[int] = mapped_column(default=0)


class HappyHour(Base):
    """Hours in which some dishes cost less: `percent` less, unless an item has a price of its own."""

    __tablename__ = "happy_hour"
    __table_args__ = (CheckConstraint("percent > 0 AND percent <= 100", name="percent_within_hundred"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80), unique=True)
    name_en: Mapped[str | None] = mapped_column(String(80))
    percent: Mapped[int | None] = mapped_column()
    days: Mapped[list[str]] = mapped_column(JSON, default=list)
    starts: Mapped[time] = mapped_column(Time)
    ends: Mapped[time] = mapped_column(Time)
    version: Mapped[int] = mapped_column()

    items: Mapped[list[HappyHourItem]] = relationship(cascade="all, delete-orphan", order_by="HappyHourItem.id")

    @property
    def schedule(self) -> Schedule:
        """When it is."""
        return Schedule.of(self.days, self.starts, self.ends)

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  # SQLAlchemy reads it from the class


class HappyHourItem(Base):
    """A dish, or all dishes of a category, that a happy hour is for; a dish may have a price in cents for it."""

    __tablename__ = "happy_hour_item"
    __table_args__ = (
        CheckConstraint("(dish_id IS NULL) <> (category_id IS NULL)", name="dish_or_category"),
        CheckConstraint("price IS NULL OR (price >= 0 AND dish_id IS NOT NULL)", name="price_of_a_dish"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    happy_hour_id: Mapped[int] = mapped_column(ForeignKey("happy_hour.id", ondelete="CASCADE"), index=True)
    dish_id: Mapped[int | None] = mapped_column(ForeignKey("dish.id"), index=True)
    category_id: Mapped[int | None] = mapped_column(ForeignKey("category.id", ondelete="CASCADE"), index=True)
    price: Mapped[int | None] = mapped_column()
