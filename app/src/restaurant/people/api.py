"""Sessions and people over REST."""

from __future__ import annotations

from http import HTTPStatus

from flask import current_app, request
from sqlalchemy.orm import Session

from restaurant.database import Database
from restaurant.http.api import Api, Versions, require_version
from restaurant.http.guard import session_token, signed_in
from restaurant.http.paging import PageQuery
from restaurant.people import quick, service
from restaurant.people.attempts import check_password, device_of
from restaurant.people.permissions import GRANTED
from restaurant.people.schemas import (
    ApprovalRequest,
    ApprovalView,
    BadgeView,
    Credentials,
    NewPerson,
    PasswordChange,
    PeopleView,
    PersonChange,
    PersonView,
    PinChange,
    SessionView,
)

sessions = Api("sessions")
approvals = Api("approvals")
account = Api("account")
people = Api("people")


@sessions.operation(
    "POST",
    "/sessions",
    body=Credentials,
    reply=SessionView,
    status=HTTPStatus.CREATED,
    refusals=(HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS),
)
def open_session(_session: Session, *, body: Credentials) -> SessionView:
    """Sign in and get a token."""
    signed = service.sign_in(
        current_app.extensions["database"],
        username=body.username,
        password=body.password.get_secret_value(),
        address=request.remote_addr or "",
    )
    return SessionView(token=signed.token, role=signed.user.role, permissions=sorted(GRANTED[signed.user.role]))


@sessions.operation("DELETE", "/sessions/current", reply=None)
def close_session(session: Session) -> None:
    """Sign out: the token of this request is of no more use."""
    token = session_token()
    if token:
        service.sign_out(session, token)


@approvals.operation(
    "POST",
    "/approvals",
    body=ApprovalRequest,
    reply=ApprovalView,
    status=HTTPStatus.CREATED,
    refusals=(HTTPStatus.TOO_MANY_REQUESTS,),
)
def give_approval(_session: Session, *, body: ApprovalRequest) -> ApprovalView:
    """Approve, as a manager on someone else's device, one action that needs a permission."""
    return ApprovalView(
        approval=service.give_approval(
            current_app.extensions["database"],
            permission=body.permission,
            username=body.username,
            password=body.password.get_secret_value(),
            actor=signed_in(),
        )
    )


@account.operation("PUT", "/account/password", body=PasswordChange, reply=SessionView,
                   refusals=(HTTPStatus.TOO_MANY_REQUESTS,))  # fmt: skip
def change_password(_session: Session, *, body: PasswordChange) -> SessionView:
    """Give oneself a new password: all one's sessions end, and the reply has a new one."""
    signed = service.change_own_password(
        current_app.extensions["database"],
        signed_in(),
        current=body.current.get_secret_value(),
        new=body.new.get_secret_value(),
    )
    return SessionView(token=signed.token, role=signed.user.role, permissions=sorted(GRANTED[signed.user.role]))


@account.operation("PUT", "/account/pin", body=PinChange, reply=None,
                   refusals=(HTTPStatus.TOO_MANY_REQUESTS,))  # fmt: skip
def change_pin(_session: Session, *, body: PinChange) -> None:
    """Give oneself a PIN, which approves and changes the person on a shared device, or withdraw it."""
    set_own_pin(body)


def set_own_pin(change: PinChange) -> None:
    """Give the person signed in a PIN, or withdraw it. Raises as `check_password` does."""
    database: Database = current_app.extensions["database"]
    user = signed_in()
    password = change.current.get_secret_value()
    if change.pin is not None:
        quick.refuse_obvious(change.pin.get_secret_value())
    check_password(database, username=user.username, password=password, address="", device=device_of(user))
    with database.writing() as session:
        pin = change.pin.get_secret_value() if change.pin is not None else None
        quick.set_pin(session, service.read_person(session, user.id), pin, keys=database.signing_keys, by=user)


@account.operation("POST", "/account/change", body=Credentials, reply=SessionView, status=HTTPStatus.CREATED,
                   refusals=(HTTPStatus.TOO_MANY_REQUESTS,))  # fmt: skip
def change_person_here(_session: Session, *, body: Credentials) -> SessionView:
    """Let another person use this device, by a PIN or a badge instead of the password; this session ends."""
    signed = service.change_person_here(
        current_app.extensions["database"],
        actor=signed_in(),
        token=session_token(),
        username=body.username,
        secret=body.password.get_secret_value(),
    )
    return SessionView(token=signed.token, role=signed.user.role, permissions=sorted(GRANTED[signed.user.role]))


@people.operation("POST", "/people/<key:person>/badge", reply=BadgeView, status=HTTPStatus.CREATED, idempotent=True)
def give_badge(session: Session, *, person: int) -> BadgeView:
    """Give a person a new badge; the former one is no longer accepted."""
    text = quick.set_badge(session, service.read_person(session, person), given=True, by=signed_in())
    return BadgeView(badge=text or "")


@people.operation("DELETE", "/people/<key:person>/badge", reply=None)
def withdraw_badge(session: Session, *, person: int) -> None:
    """Withdraw a person's badge."""
    user = service.read_person(session, person)
    if user.badge_hash is not None:
        quick.set_badge(session, user, given=False, by=signed_in())


@people.operation("GET", "/people", query=PageQuery, reply=PeopleView)
def list_people(session: Session, *, query: PageQuery) -> PeopleView:
    """List everybody who can sign in."""
    found, following = service.list_people(session, query)
    return PeopleView(items=[PersonView.model_validate(user) for user in found], next=following)


@people.operation("GET", "/people/<key:person>", reply=PersonView, refusals=(HTTPStatus.NOT_FOUND,))
def read_person(session: Session, *, person: int) -> PersonView:
    """Read one person."""
    return PersonView.model_validate(service.read_person(session, person))


@people.operation(
    "POST",
    "/people",
    body=NewPerson,
    reply=PersonView,
    status=HTTPStatus.CREATED,
    refusals=(HTTPStatus.CONFLICT,),
)
def add_person(session: Session, *, body: NewPerson) -> PersonView:
    """Add a person."""
    user = service.add_person(
        session,
        username=body.username,
        name=body.name,
        role=body.role,
        password=body.password.get_secret_value(),
    )
    return PersonView.model_validate(user)


@people.operation(
    "PATCH",
    "/people/<key:person>",
    body=PersonChange,
    reply=PersonView,
    if_match=True,
    refusals=(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
def change_person(session: Session, *, person: int, body: PersonChange, version: Versions) -> PersonView:
    """Change a person; a new password or role and a deactivation end that person's sessions."""
    user = service.read_person(session, person)
    require_version(user, version)
    changed = service.change_person(
        session,
        user,
        name=body.name,
        role=body.role,
        active=body.active,
        password=body.password.get_secret_value() if body.password is not None else None,
    )
    return PersonView.model_validate(changed)
