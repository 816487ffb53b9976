"""Pages: signing in and out, and the list of people."""

from __future__ import annotations

import secrets

from flask import Blueprint, current_app, redirect, render_template, request
from pydantic import ValidationError
from werkzeug.wrappers import Response

from restaurant.database import Database
from restaurant.errors import Invalid, Problem
from restaurant.http.guard import cookie_name, current_user, session_token
from restaurant.http.paging import WHOLE
from restaurant.i18n import gettext as _
from restaurant.people import service
from restaurant.people.permissions import Role
from restaurant.people.schemas import NewPerson

door = Blueprint("door", __name__)
team = Blueprint("team", __name__)


def safe_target(target: str) -> str:
    """`target` if it is a path of this site, else the staff's first page."""
    return target if target.startswith("/") and not target.startswith(("//", "/\\")) else "/accueil"


@door.get("/connexion")
def sign_in_page() -> str:
    """The form to sign in."""
    return render_template("people/sign_in.html", target=request.args.get("retour", ""), problem=None)


@door.post("/connexion")
def sign_in() -> Response:
    """Sign in and go where one wanted to go."""
    target = request.form.get("retour", "")
    try:
        signed = service.sign_in(
            current_app.extensions["database"],
            username=request.form.get("username", "")[:40],
            password=request.form.get("password", "")[:200],
            address=request.remote_addr or "",
        )
    except Problem as problem:
        page = render_template("people/sign_in.html", target=target, problem=problem.detail)
        return Response(page, status=problem.status, headers=problem.headers, mimetype="text/html")
    response = redirect(safe_target(target), code=303)
    response.set_cookie(
        cookie_name(),
        signed.token,
        max_age=int(service.ABSOLUTE.total_seconds()),
        secure=current_app.extensions["settings"].https,
        httponly=True,
        samesite="Lax",
    )
    return response


@door.post("/deconnexion")
def sign_out() -> Response:
    """End this session."""
    database: Database = current_app.extensions["database"]
    token = session_token()
    if token:
        with database.writing() as session:
            service.sign_out(session, token)
    response = redirect("/", code=303)
    response.delete_cookie(cookie_name(), secure=current_app.extensions["settings"].https, httponly=True)
    return response


@team.get("/equipe")
def people_page() -> str:
    """Everybody who can sign in."""
    database: Database = current_app.extensions["database"]
    with database.reading() as session:
        people, _next = service.list_people(session, WHOLE)
    return render_template("people/team.html", people=people, roles=list(Role), password=None)


@team.post("/equipe")
def add_person() -> str:
    """Add a person with a random password, shown once."""
    password = secrets.token_urlsafe(12)
    try:
        new = NewPerson.model_validate({**request.form.to_dict(), "password": password})
    except ValidationError as error:
        raise Invalid(_("A user name of 2 to 40 letters or digits, a name and a role are needed.")) from error
    database: Database = current_app.extensions["database"]
    with database.writing() as session:
        added = service.add_person(session, username=new.username, name=new.name, role=new.role, password=password)
    with database.reading() as session:
        people, _next = service.list_people(session, WHOLE)
    return render_template("people/team.html", people=people, roles=list(Role), added=added, password=password)


@team.post("/equipe/<key:person>/acces")
def switch_access(person: int) -> Response:
    """Let a person in again, or shut them out and end their sessions."""
    database: Database = current_app.extensions["database"]
    me = current_user()
    if me is not None and me.id == person:
        raise Invalid(_("You cannot shut yourself out."))
    with database.writing() as session:
        user = service.read_person(session, person)
        service.change_person(session, user, active=not user.active)
    return redirect("/equipe", code=303)
