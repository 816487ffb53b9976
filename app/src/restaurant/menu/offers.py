"""What dishes cost at a moment, and which set menus are offered then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time

from restaurant.business_day import BusinessDay
from restaurant.menu.models import Dish, HappyHour, SetMenu


@dataclass(frozen=True)
class Price:
    """Cents for a dish without its options, and the happy hour that makes it less than usual."""

    amount: int
    happy_hour: HappyHour | None = None


@dataclass(frozen=True)
class Offers:
    """The happy hours and set menus of a moment, whose local time is `clock`."""

    clock: time
    happy_hours: Sequence[HappyHour]
    set_menus: Mapping[int, SetMenu]

    @classmethod
    def at(
        cls, moment: datetime, happy_hours: Sequence[HappyHour], set_menus: Sequence[SetMenu], business_day: BusinessDay
    ) -> Offers:
        """Those of the menu that are on at `moment`."""
        return cls(
            clock=moment.astimezone(business_day.zone).time(),
            happy_hours=[entry for entry in happy_hours if entry.schedule.covers(moment, business_day)],
            set_menus={
                entry.id: entry
                for entry in set_menus
                if not entry.archived and entry.schedule.covers(moment, business_day)
            },
        )

    def price(self, dish: Dish) -> Price:
        """The lowest price of a dish."""
        best = Price(dish.price)
        for happy_hour in self.happy_hours:
            amount = _reduced(dish, happy_hour)
            if amount is not None and amount < best.amount:
                best = Price(amount, happy_hour)
        return best


def _reduced(dish: Dish, happy_hour: HappyHour) -> int | None:
    """What a dish costs in a happy hour, None when it is not for this dish. A dish comes before its category."""
    category = False
    for item in happy_hour.items:
        if item.dish_id == dish.id:
            return item.price if item.price is not None else _less(dish.price, happy_hour.percent)
        category = category or item.category_id == dish.category_id
    return _less(dish.price, happy_hour.percent) if category else None


def _less(price: int, percent: int | None) -> int | None:
    """`price` less `percent` of it, which is rounded half up to the cent."""
    return None if percent is None else price - (price * percent + 50) // 100
