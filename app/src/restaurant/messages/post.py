"""What the settings say about messages to guests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from restaurant.types import Labelled


class ChannelKind(Labelled):
    """How a message is sent."""

    EMAIL = "email"
    SMS = "text_message"


@dataclass(frozen=True)
class Post:
    """What the settings say about messages to guests."""

    restaurant: str
    address: str
    url: str
    """Address of the booking pages, empty when it is not known."""
    channels: frozenset[ChannelKind]
    reminder: timedelta
    """How long before a booking its guest is reminded; zero for never."""
