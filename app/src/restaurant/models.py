"""Imports every domain's models, so that the metadata is complete for migrations."""

from __future__ import annotations

from restaurant.http import idempotency
from restaurant.menu import models as menu
from restaurant.orders import models as orders
from restaurant.people import models as people

ALL = (idempotency, menu, orders, people)
