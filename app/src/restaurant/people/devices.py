"""Devices that are known: a person who has signed in on one is not locked out of it by others who fail with their name.

A signed cookie says who has signed in. It opens nothing, it only has attempts counted apart (`attempts`).
"""

from __future__ import annotations

import secrets
from typing import Any

from flask import current_app, request
from itsdangerous import BadSignature, URLSafeSerializer
from werkzeug.wrappers import Response

from restaurant.http.prefix import cookie_path
from restaurant.people.models import User
from restaurant.settings import Settings

COOKIE = "device"
#: Seconds for which a device is remembered after somebody signed in, and how many persons of it.
_KEPT = 180 * 24 * 3600
_MOST = 20


def known(username: str) -> str | None:
    """This device, as its attempts are counted, if the person of that name has signed in on it."""
    found = _read()
    return f"cookie-{found['id']}" if username.strip().lower() in found["names"] else None


def remember(response: Response, user: User) -> None:
    """Remember that `user` has signed in on this device."""
    found = _read()
    names = [user.username, *(name for name in found["names"] if name != user.username)]
    response.set_cookie(
        COOKIE,
        _serializer().dumps({"id": found["id"], "names": names[:_MOST]}),
        max_age=_KEPT,
        path=cookie_path(),
        secure=_settings().https,
        httponly=True,
        samesite="Lax",
    )


def _read() -> dict[str, Any]:
    try:
        return dict(_serializer().loads(request.cookies.get(COOKIE, "")))
    except BadSignature:
        return {"id": secrets.token_hex(8), "names": []}


def _serializer() -> URLSafeSerializer:
    # The newest key, which signs, is the last one to itsdangerous.
    return URLSafeSerializer(list(reversed(_settings().signing_keys)), salt="device")


def _settings() -> Settings:
    found: Settings = current_app.extensions["settings"]
    return found
