"""Pages: signing in and out, one's own password, and the list of people."""

from __future__ import annotations

import secrets

from flask import Blueprint, current_app, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from restaurant.database import Database
from restaurant.errors import Invalid, Problem
from restaurant.forms import read_form, read_switch, read_version, typed
from restaurant.http.api import require_version
from restaurant.http.guard import cookie_name, session_token, signed_in
from restaurant.http.paging import WHOLE
from restaurant.http.prefix import cookie_path
from restaurant.http.targets import local_path
from restaurant.i18n import gettext as _
from restaurant.people import devices, quick, service
from restaurant.people.api import set_own_pin
from restaurant.people.models import User
from restaurant.people.permissions import Role
from restaurant.people.schemas import NewPerson, PasswordChange, PersonChange, PinChange

sessions = Blueprint("sessions", __name__)
account = Blueprint("account", __name__, url_prefix="/compte")
team = Blueprint("team", __name__)


@sessions.get("/connexion")
def sign_in_page() -> str:
    """The form to sign in."""
    return render_template("people/sign_in.html", target=request.args.get("retour", ""), problem=None)


@sessions.post("/connexion")
def sign_in() -> Response:
    """Sign in and go where one wanted to go."""
    target, username = request.form.get("retour", ""), request.form.get("username", "")[:40]
    try:
        signed = service.sign_in(
            current_app.extensions["database"],
            username=username,
            password=request.form.get("password", "")[:200],
            address=request.remote_addr or "",
            device=devices.known(username),
        )
    except Problem as problem:
        page = render_template("people/sign_in.html", target=target, problem=problem.detail)
        return Response(page, status=problem.status, headers=problem.headers, mimetype="text/html")
    return _signed_in(redirect(local_path(target, default=url_for("home.first_page")), code=303), signed)


@sessions.post("/deconnexion")
def sign_out() -> Response:
    """End this session."""
    database: Database = current_app.extensions["database"]
    token = session_token()
    if token:
        with database.writing() as session:
            service.sign_out(session, token)
    response = redirect(url_for("orders.menu_page"), code=303)
    response.delete_cookie(
        cookie_name(), path=cookie_path(), secure=current_app.extensions["settings"].https, httponly=True
    )
    return response


@account.get("")
def account_page() -> str:
    """The signed-in person's account, and a form to change the password."""
    return render_template("people/account.html", least=service.PASSWORD_MINIMUM)


@account.get("/changement")
def change_person_page() -> str:
    """The form with which another person uses this device."""
    return _change_person_form(request.args.get("retour", ""))


@account.post("/changement")
def change_person_here() -> Response:
    """Let another person use this device, by PIN, badge or password."""
    target = request.form.get("retour", "")
    try:
        signed = service.change_person_here(
            _database(),
            actor=signed_in(),
            token=session_token(),
            username=request.form.get("username", "")[:40],
            secret=request.form.get("secret", "")[:200],
        )
    except Problem as problem:
        page = _change_person_form(target, problem=problem.detail)
        return Response(page, status=problem.status, headers=problem.headers, mimetype="text/html")
    return _signed_in(redirect(local_path(target, default=url_for("home.first_page")), code=303), signed)


def _change_person_form(target: str, *, problem: str | None = None) -> str:
    with _database().reading() as session:
        people = service.list_people_with_pin(session)
    return render_template("people/change.html", people=people, target=target, problem=problem)


@account.post("/pin")
def set_pin() -> Response:
    """Give oneself a PIN, or withdraw it."""
    form = request.form
    change = read_form(PinChange, {"current": form.get("current", ""), "pin": form.get("pin") or None})
    set_own_pin(change)
    return redirect(url_for("account.account_page"), code=303)


@account.post("")
def change_password() -> Response:
    """Change one's own password, and stay signed in on this device only."""
    form = request.form
    change = read_form(PasswordChange, typed("current", "new"))
    if form.get("again", "") != form.get("new", ""):
        raise Invalid(_("The two new passwords do not match."))
    signed = service.change_own_password(
        current_app.extensions["database"],
        signed_in(),
        current=change.current.get_secret_value(),
        new=change.new.get_secret_value(),
    )
    return _signed_in(redirect(url_for("home.first_page"), code=303), signed)


@team.get("/equipe")
def people_page() -> str:
    """Everybody who can sign in."""
    with _database().reading() as session:
        people, _next = service.list_people(session, WHOLE)
    return render_template("people/team.html", people=people, roles=list(Role), password=None)


@team.post("/equipe")
def add_person() -> str:
    """Add a person with a random password, shown once."""
    password = secrets.token_urlsafe(12)
    new = read_form(NewPerson, typed("username", "name", "role") | {"password": password})
    with _database().writing() as session:
        added = service.add_person(session, username=new.username, name=new.name, role=new.role, password=password)
    return _with_password(added, password)


@team.post("/equipe/<key:person>/mot-de-passe")
def give_password(person: int) -> str:
    """Set a new random password, which is shown once; the person's sessions end."""
    password = secrets.token_urlsafe(12)
    with _database().writing() as session:
        user = service.change_person(session, service.read_person(session, person), password=password)
    return _with_password(user, password)


@team.post("/equipe/<key:person>")
def change_person(person: int) -> Response:
    """Change a person's name or role."""
    change = read_form(PersonChange, typed("name", "role"))
    with _database().writing() as session:
        user = service.read_person(session, person)
        require_version(user, read_version(request.form))
        service.change_person(session, user, name=change.name, role=change.role if change.role != user.role else None)
    return redirect(url_for("team.people_page"), code=303)


@team.post("/equipe/<key:person>/acces")
def set_access(person: int) -> Response:
    """Activate a person's account, or deactivate it and end their sessions."""
    wanted = read_switch(request.form, "active")
    if signed_in().id == person:
        raise Invalid(_("You cannot deactivate your own account."))
    with _database().writing() as session:
        service.change_person(session, service.read_person(session, person), active=wanted)
    return redirect(url_for("team.people_page"), code=303)


@team.post("/equipe/<key:person>/badge")
def give_badge(person: int) -> str:
    """Give a person a new badge, whose text is shown once."""
    with _database().writing() as session:
        user = service.read_person(session, person)
        badge = quick.set_badge(session, user, given=True, by=signed_in())
    with _database().reading() as session:
        people, _next = service.list_people(session, WHOLE)
    return render_template("people/team.html", people=people, roles=list(Role), password=None, added=user, badge=badge)


@team.post("/equipe/<key:person>/badge/retrait")
def withdraw_badge(person: int) -> Response:
    """Withdraw a person's badge."""
    with _database().writing() as session:
        user = service.read_person(session, person)
        if user.badge_hash is not None:
            quick.set_badge(session, user, given=False, by=signed_in())
    return redirect(url_for("team.people_page"), code=303)


@team.post("/equipe/<key:person>/pin")
def withdraw_pin(person: int) -> Response:
    """Withdraw a person's PIN."""
    with _database().writing() as session:
        user = service.read_person(session, person)
        if user.pin_hash is not None:
            quick.set_pin(session, user, None, keys=_database().signing_keys, by=signed_in())
    return redirect(url_for("team.people_page"), code=303)


def _with_password(person: User, password: str) -> str:
    with _database().reading() as session:
        people, _next = service.list_people(session, WHOLE)
    return render_template("people/team.html", people=people, roles=list(Role), added=person, password=password)


def _signed_in(response: Response, signed: service.SignedIn) -> Response:
    response.set_cookie(
        cookie_name(),
        signed.token,
        max_age=int(service.ABSOLUTE.total_seconds()),
        path=cookie_path(),
        secure=current_app.extensions["settings"].https,
        httponly=True,
        samesite="Lax",
    )
    devices.remember(response, signed.user)
    return response


def _database() -> Database:
    found: Database = current_app.extensions["database"]
    return found
