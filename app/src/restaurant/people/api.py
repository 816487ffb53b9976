"""Sessions and people over REST."""

from __future__ import annotations

from http import HTTPStatus

from flask import current_app, request
from sqlalchemy.orm import Session

from restaurant.http.api import Api, require_version
from restaurant.http.guard import session_token, signed_in
from restaurant.http.paging import PageQuery
from restaurant.people import service
from restaurant.people.permissions import GRANTED
from restaurant.people.schemas import (
    ApprovalRequest,
    ApprovalView,
    Credentials,
    NewPerson,
    PasswordChange,
    PeopleView,
    PersonChange,
    PersonView,
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
            address=request.remote_addr or "",
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
        address=request.remote_addr or "",
    )
    return SessionView(token=signed.token, role=signed.user.role, permissions=sorted(GRANTED[signed.user.role]))


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
def change_person(session: Session, *, person: int, body: PersonChange, version: int) -> PersonView:
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
