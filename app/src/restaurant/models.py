"""Imports every domain's models, so that the metadata is complete for migrations."""

from __future__ import annotations

from restaurant.billing import models as billing
from restaurant.deposits import models as deposits
from restaurant.floor import models as floor
from restaurant.http import idempotency
from restaurant.kitchen import models as kitchen
from restaurant.menu import models as menu
from restaurant.messages import models as messages
from restaurant.opening import models as opening
from restaurant.orders import models as orders
from restaurant.payments import models as payments
from restaurant.people import models as people
from restaurant.printing import models as printing
from restaurant.reservations import models as reservations
from restaurant.stock import models as stock
from restaurant.table_orders import models as table_orders

ALL = (
    billing,
    deposits,
    floor,
    idempotency,
    kitchen,
    menu,
    messages,
    opening,
    orders,
    payments,
    people,
    printing,
    reservations,
    stock,
    table_orders,
)
