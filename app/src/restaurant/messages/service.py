"""Messages to guests about their bookings: confirmation, changes, cancellation, and a reminder before they come.

Messages are written in the transaction of what they tell and sent by `sender`. A reminder is one that waits until its
time; a change of the booking replaces it. Without a channel for a contact nothing is written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from email.errors import MessageError
from email.headerregistry import Address

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from restaurant.i18n import format_day, format_time, ngettext
from restaurant.i18n import gettext as _
from restaurant.messages.models import Message, MessageKind, MessageStatus
from restaurant.messages.post import ChannelKind, Post
from restaurant.reservations.models import Booking
from restaurant.types import now

#: A message about something that happened is worth sending for as long as this.
_WORTH = timedelta(hours=12)
#: A reminder is not sent so shortly before the booking, nor so shortly after the booking was made.
_LATEST, _SPACING = timedelta(hours=1), timedelta(hours=3)

_NUMBER = re.compile(r"\+?\d{8,15}")


def channel_of(contact: str) -> tuple[ChannelKind, str] | None:
    """How a contact can be reached and its address there, None when it is neither an address nor a number."""
    text = contact.strip()
    if "@" in text:
        try:
            return ChannelKind.EMAIL, Address(addr_spec=text).addr_spec
        except (ValueError, IndexError, MessageError):
            return None
    number = re.sub(r"[\s.()/-]", "", text.replace("(0)", ""))
    return (ChannelKind.SMS, number) if _NUMBER.fullmatch(number) else None


def confirm(session: Session, booking: Booking) -> None:
    """Tell the guest that the booking is taken, and remind them before it begins."""
    _write(session, booking, MessageKind.CONFIRMATION)
    _remind(session, booking)


def tell_change(session: Session, booking: Booking) -> None:
    """Tell the guest how the booking is now; what waits about it is replaced."""
    _replace(session, booking)
    _write(session, booking, MessageKind.CHANGE)
    _remind(session, booking)


def tell_cancellation(session: Session, booking: Booking) -> None:
    """Tell the guest that the booking is cancelled."""
    _replace(session, booking)
    _write(session, booking, MessageKind.CANCELLATION)


def drop_waiting(session: Session, booking: Booking) -> None:
    """Send nothing that waits about a booking."""
    _replace(session, booking)


def messages_of(session: Session, booking: Booking) -> Sequence[Message]:
    """The messages about a booking, oldest first."""
    query = select(Message).where(Message.booking_id == booking.id, Message.status != MessageStatus.REMOVED)
    return session.scalars(query.order_by(Message.id)).all()


def _remind(session: Session, booking: Booking) -> None:
    post = _post(session)
    at, moment = booking.starts_at - post.reminder, now()
    if post.reminder and at >= moment + _SPACING:
        _write(session, booking, MessageKind.REMINDER, at=at, until=booking.starts_at - _LATEST)


def _replace(session: Session, booking: Booking) -> None:
    session.execute(
        update(Message)
        .where(Message.booking_id == booking.id, Message.status == MessageStatus.WAITING)
        .values(status=MessageStatus.REMOVED)
        .execution_options(synchronize_session=False)
    )


def _write(
    session: Session, booking: Booking, kind: MessageKind, *, at: datetime | None = None, until: datetime | None = None
) -> None:
    post = _post(session)
    reached = channel_of(booking.contact)
    if reached is None or reached[0] not in post.channels:
        return
    channel, recipient = reached
    moment = now()
    subject, text = _text(booking, kind, post)
    if channel is ChannelKind.EMAIL:
        greeting = _("Hello {name},", name=booking.guest)
        text = "\n\n".join([greeting, text, "\n".join(filter(None, (post.restaurant, post.address)))])
    session.add(
        Message(
            booking_id=booking.id, kind=kind, channel=channel, recipient=recipient, subject=subject[:200], body=text,
            next_at=at or moment, expires_at=until or moment + _WORTH,
        )
    )  # fmt: skip
    session.flush()


def _post(session: Session) -> Post:
    """What the settings say; they come with every session that writes."""
    found: Post = session.info["post"]
    return found


def _text(booking: Booking, kind: MessageKind, post: Post) -> tuple[str, str]:
    """The subject and the text of a message."""
    guests = ngettext("{count} guest", "{count} guests", booking.covers)
    values = {
        "restaurant": post.restaurant, "day": format_day(booking.starts_at), "time": format_time(booking.starts_at),
        "guests": guests,
    }  # fmt: skip
    match kind:
        case MessageKind.CONFIRMATION:
            subject = _("Your booking at {restaurant}", restaurant=post.restaurant)
            told = _("{restaurant}: your table is booked for {day} at {time}, {guests}.", **values)
        case MessageKind.CHANGE:
            subject = _("Your booking at {restaurant} has changed", restaurant=post.restaurant)
            told = _("{restaurant}: your booking is now for {day} at {time}, {guests}.", **values)
        case MessageKind.CANCELLATION:
            subject = _("Your booking at {restaurant} is cancelled", restaurant=post.restaurant)
            told = _("{restaurant}: your booking for {day} at {time}, {guests}, is cancelled.", **values)
        case MessageKind.REMINDER:
            subject = _("We expect you at {restaurant}", restaurant=post.restaurant)
            told = _("{restaurant}: we expect you on {day} at {time}, {guests}.", **values)
    if kind is not MessageKind.CANCELLATION and post.url:
        address = f"{post.url}/reserver/{booking.reference}"
        told = _("{text} To see or cancel it: {address}", text=told, address=address)
    return subject, told
