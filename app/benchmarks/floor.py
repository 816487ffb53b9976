"""The floor to compare with: the least a Flask application can do for a page, for an order and for a bill.

No settings, logs, metrics, languages, validation, permissions or idempotency: a string, one INSERT, one SELECT.
"""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING

import psycopg
from flask import Flask, jsonify, request

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

app = Flask(__name__)
_local = threading.local()


def _connection() -> psycopg.Connection[tuple[object, ...]]:
    """This thread's own connection, so that not even a pool is in the way."""
    if not hasattr(_local, "connection"):
        _local.connection = psycopg.connect(os.environ["FLOOR_DATABASE"])
    found: psycopg.Connection[tuple[object, ...]] = _local.connection
    return found


@app.get("/")
def page() -> str:
    """A page."""
    return "<!doctype html><title>menu</title>" + "<p>dish</p>" * 24


@app.post("/orders")
def order() -> ResponseReturnValue:
    """One INSERT."""
    placed = request.get_json()
    connection = _connection()
    with connection.transaction():
        row = connection.execute(
            "INSERT INTO floor_order (guest, lines) VALUES (%s, %s) RETURNING id",
            (placed["guest"], json.dumps(placed["lines"])),
        ).fetchone()
    return jsonify(id=row[0] if row else None), 201


@app.get("/bill")
def bill() -> ResponseReturnValue:
    """One SELECT."""
    with _connection().transaction():
        row = _connection().execute("SELECT id, guest, lines FROM floor_order WHERE id = 1").fetchone()
    return jsonify(row)
