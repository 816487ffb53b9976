"""The kitchen screen, and the stream that notifies it of changes.

The stream carries no state, only "something changed": the screen then fetches the board again. So a screen that
reconnects, to this pod or another, is up to date after one request.
"""

from __future__ import annotations

import queue
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from http import HTTPStatus

from flask import Blueprint, current_app, redirect, render_template, request, url_for
from pydantic import BaseModel
from werkzeug.wrappers import Response

from restaurant.database import Database
from restaurant.errors import NotFound, Problem
from restaurant.forms import first_time, read_form, typed
from restaurant.i18n import gettext as _
from restaurant.kitchen import notices, outbox, service
from restaurant.lifecycle import Lifecycle
from restaurant.menu.models import Station
from restaurant.metrics import STREAMS, STREAMS_REFUSED
from restaurant.orders.models import LineStatus
from restaurant.printing import service as printing
from restaurant.settings import Settings
from restaurant.types import Key, now

kitchen = Blueprint("kitchen", __name__)

#: A stream ends after this many seconds, so that screens spread over pods that were added since.
STREAM_SECONDS = 55.0
_STILL_HERE_SECONDS = 15.0


class Acknowledgment(BaseModel):
    """The last of the announced changes that the cook saw."""

    until: Key


class StreamsTaken(Problem):
    """The maximum number of streams is connected; the screen polls every few seconds instead."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "streams-taken"


@kitchen.get("/cuisine")
def board_page() -> str:
    """The screen of one station or of all."""
    return render_template("kitchen/board_page.html", **_board())


@kitchen.get("/cuisine/tableau")
def board() -> str:
    """The part of the screen that changes."""
    return render_template("kitchen/board.html", **_board())


@kitchen.post("/cuisine/lignes/<key:line>")
def move_line(line: int) -> Response:
    """Move a line forward or back, and show the board again."""
    database: Database = current_app.extensions["database"]
    wanted = request.form.get("status", "")
    if wanted not in {status.value for status in LineStatus}:
        raise NotFound(_("This line does not exist."))
    with database.writing() as session:
        if first_time(session):
            service.move_line(session, line, LineStatus(wanted))
    return _back()


@kitchen.post("/cuisine/lignes/<key:line>/vu")
def acknowledge_void(line: int) -> Response:
    """Take a voided line off the board, and show the board again."""
    database: Database = current_app.extensions["database"]
    with database.writing() as session:
        service.acknowledge_void(session, line)
    return _back()


@kitchen.post("/cuisine/commandes/<uuid:reference>/prete")
def finish_ticket(reference: uuid.UUID) -> Response:
    """Mark all that the station still prepares of an order as ready, and show the board again."""
    database: Database = current_app.extensions["database"]
    with database.writing() as session:
        if first_time(session):
            seen = set(request.form.getlist("lines", int))
            service.finish_ticket(session, reference, station=_station(request.form), seen=seen)
    return _back()


@kitchen.post("/cuisine/commandes/<uuid:reference>/rappel")
def recall_ticket(reference: uuid.UUID) -> Response:
    """Mark what the station has ready of an order as being prepared again, and show the board again."""
    database: Database = current_app.extensions["database"]
    with database.writing() as session:
        if first_time(session):
            service.recall_ticket(session, reference, station=_station(request.form))
    return _back()


@kitchen.post("/cuisine/commandes/<uuid:reference>/vu")
def acknowledge_notices(reference: uuid.UUID) -> Response:
    """Take the announced changes that the cook saw off the board, and show the board again."""
    seen = read_form(Acknowledgment, typed("until"))
    database: Database = current_app.extensions["database"]
    with database.writing() as session:
        service.acknowledge_notices(session, reference, station=_station(request.form), until=seen.until)
    return _back()


@kitchen.get("/cuisine/flux")
def stream() -> Response:
    """Server-sent events: `change` whenever the board may have changed."""
    hub: outbox.Hub = current_app.extensions["hub"]
    lifecycle: Lifecycle = current_app.extensions["lifecycle"]
    resumed = "Last-Event-ID" in request.headers
    place = ExitStack()
    try:
        changes = place.enter_context(hub.screen())
    except outbox.TooManyStreamsError as error:
        STREAMS_REFUSED.inc()
        raise StreamsTaken(_("The maximum number of live screens is already connected.")) from error
    with hub.database.reading() as session:
        current = outbox.last_event(session)
    STREAMS.inc()
    place.callback(STREAMS.dec)

    def events() -> Iterator[str]:
        # A screen that resumes may have missed a change; a new one has just loaded the page.
        yield f"retry: 1000\nid: {current}\nevent: {'change' if resumed else 'hello'}\ndata:\n\n"
        end = time.monotonic() + STREAM_SECONDS
        spoken = time.monotonic()
        while time.monotonic() < end and not lifecycle.draining.is_set():
            try:
                number = changes.get(timeout=0.5)
            except queue.Empty:
                if time.monotonic() - spoken >= _STILL_HERE_SECONDS:
                    spoken = time.monotonic()
                    yield ": still here\n\n"
                continue
            spoken = time.monotonic()
            yield f"id: {number}\nevent: change\ndata:\n\n"

    response = Response(events(), mimetype="text/event-stream", headers={"X-Accel-Buffering": "no"})
    response.call_on_close(place.close)
    return response


def _board() -> dict[str, object]:
    station = _station(request.args)
    database: Database = current_app.extensions["database"]
    settings: Settings = current_app.extensions["settings"]
    with database.reading() as session:
        board = service.read_board(session, station=station, at=now(), thresholds=settings.kitchen_thresholds)
        failing = printing.failing(session) if printing.targets(session) else ()
    return {
        "board": board, "station": station, "stations": list(Station), "Status": LineStatus, "words": notices.words,
        "failing": failing,
        "key": uuid.uuid4().hex,
    }  # fmt: skip


def _station(given: Mapping[str, str]) -> Station | None:
    wanted = given.get("station", "")
    return Station(wanted) if wanted in {entry.value for entry in Station} else None


def _back() -> Response:
    return redirect(url_for("kitchen.board_page", station=request.form.get("station") or None), code=303)
