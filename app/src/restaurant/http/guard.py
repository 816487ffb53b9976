"""Authorization: a blueprint is registered with its rules, and an endpoint without a rule is denied to everyone."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Blueprint, Flask, current_app, g, redirect, request, url_for
from werkzeug.wrappers import Response

from restaurant.errors import wants_problem_json
from restaurant.http.prefix import own_path
from restaurant.i18n import gettext as _
from restaurant.people.attempts import Refused, Unauthenticated
from restaurant.people.models import User
from restaurant.people.permissions import Access, Rule
from restaurant.people.service import session_user

_READS = frozenset({"GET", "HEAD", "OPTIONS"})

#: Endpoints that do not depend on who sends the request, and therefore do not look it up in the database.
_SAME_FOR_ALL = frozenset({"static", "network.pulse", "network.worker", "network.offline_page"})


@dataclass(frozen=True)
class Rules:
    """Who may read from a blueprint and who may change something through it."""

    read: Rule
    write: Rule


class Guard:
    """The rules of all endpoints of one application."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self._blueprints: dict[str, Rules] = {}
        app.extensions["guard"] = self
        app.before_request(self._check)
        app.jinja_env.globals["me"] = current_user

    def register(self, blueprint: Blueprint, *, read: Rule, write: Rule) -> None:
        """Register `blueprint` with its rules."""
        self._blueprints[blueprint.name] = Rules(read=read, write=write)
        self.app.register_blueprint(blueprint)

    def rule(self, endpoint: str, method: str) -> Rule | None:
        """The rule of an endpoint, or None if it has none and is therefore closed."""
        if endpoint == "static":
            return Access.PUBLIC
        rules = self._blueprints.get(endpoint.rpartition(".")[0])
        if rules is None:
            return None
        return rules.read if method in _READS else rules.write

    def _check(self) -> Response | None:
        if request.endpoint is None:
            return None  # no such route: answered 404 or 405
        rule = self.rule(request.endpoint, request.method)
        if request.endpoint in _SAME_FOR_ALL:
            return None
        # Looked up here and never later: a view that holds one connection must not need a second one for this.
        user = current_app.extensions["failover"].execute(current_user)
        if rule is Access.PUBLIC:
            return None
        if user is None:
            if wants_problem_json():
                raise Unauthenticated(_("Please sign in."))
            return redirect(url_for("sessions.sign_in_page", retour=own_path()), code=303)
        if rule is None or not user.may(rule):
            raise Refused(_("You are not allowed to do this."))
        return None


def cookie_name() -> str:
    """By HTTPS, `__Host-` ties the cookie to this very host, which browsers accept for all of its paths only."""
    if not current_app.extensions["settings"].https:
        return "session"
    return "__Secure-session" if request.root_path else "__Host-session"


def session_token() -> str | None:
    """The token this request carries: a bearer token, else the cookie."""
    scheme, _space, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else request.cookies.get(cookie_name())


def current_user() -> User | None:
    """The person signed in, looked up once per request."""
    if "user" not in g:
        token = session_token()
        try:
            g.user = session_user(current_app.extensions["database"], token) if token else None
        except Unauthenticated:
            g.user = None
    found: User | None = g.user
    return found


def signed_in() -> User:
    """The person signed in. Raises `Unauthenticated`."""
    user = current_user()
    if user is None:
        raise Unauthenticated(_("Please sign in."))
    return user
