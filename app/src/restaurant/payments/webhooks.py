"""Where a payment provider says that something became of a charge or a refund."""

from __future__ import annotations

import json
import uuid

from flask import Blueprint, Response, current_app, request
from sqlalchemy import select

from restaurant.database import Database
from restaurant.errors import BadRequest, NotFound
from restaurant.i18n import gettext as _
from restaurant.payments.api import the_gateway
from restaurant.payments.models import Attempt
from restaurant.payments.stripe import key_of, verify_event
from restaurant.settings import Settings
from restaurant.types import now

webhooks = Blueprint("webhooks", __name__, url_prefix="/api/v1/payment-events")


@webhooks.post("/stripe")
def take_event() -> Response:
    """Look up the charge or refund that a signed event is about; what the event says of it is not relied on."""
    settings: Settings = current_app.extensions["settings"]
    secret = settings.webhook_secret()
    if secret is None:
        raise NotFound(_("Events of payment providers are not set up."))
    payload = request.get_data()
    if not verify_event(payload, request.headers.get("Stripe-Signature", ""), secret, at=now()):
        raise BadRequest(_("The signature of this event is not valid."), code="signature")
    try:
        key = uuid.UUID(key_of(json.loads(payload)) or "")
    except ValueError:
        # Something else that happened at the provider.
        return Response(status=204)
    database: Database = current_app.extensions["database"]
    with database.reading() as session:
        known = session.scalar(select(Attempt.id).where(Attempt.reference == key))
    if known is not None:
        the_gateway().wake(key)
    return Response(status=204)
