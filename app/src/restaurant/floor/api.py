"""The floor over REST: `plan` is for those who seat guests, `edit` for those who change the floor plan."""

from __future__ import annotations

from http import HTTPStatus

from flask import current_app
from sqlalchemy.orm import Session

from restaurant.floor import service
from restaurant.floor.models import Room, Table
from restaurant.floor.schemas import FloorView, NewTable, RoomName, RoomView, TableChange, TableJoin, TableView
from restaurant.http.api import Api, Versions, require_version
from restaurant.settings import Settings
from restaurant.types import now

plan = Api("floor")
edit = Api("tables")


@plan.operation("GET", "/floor", reply=FloorView)
def read_floor(session: Session) -> FloorView:
    """Read all rooms, with what each table is doing now."""
    return FloorView(rooms=_rooms(session))


@edit.operation(
    "POST",
    "/tables",
    body=NewTable,
    reply=TableView,
    status=HTTPStatus.CREATED,
    refusals=(HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND),
)
def add_table(session: Session, *, body: NewTable) -> TableView:
    """Put a table into a room."""
    return _view(session, service.add_table(session, **body.model_dump()))


@edit.operation("PATCH", "/tables/<key:table>", body=TableChange, reply=TableView, if_match=True,
                refusals=(HTTPStatus.CONFLICT,))  # fmt: skip
def change_table(session: Session, *, table: int, body: TableChange, version: Versions) -> TableView:
    """Change a table, such as where it stands."""
    found = service.read_table(session, table)
    require_version(found, version)
    return _view(session, service.change_table(session, found, **body.model_dump(exclude_none=True)))


@edit.operation("DELETE", "/tables/<key:table>", reply=None, if_match=True, refusals=(HTTPStatus.CONFLICT,))
def remove_table(session: Session, *, table: int, version: Versions) -> None:
    """Take a table away that no order and no booking names."""
    found = service.read_table(session, table)
    require_version(found, version)
    service.remove_table(session, found)


@edit.operation("POST", "/rooms", body=RoomName, reply=RoomView, status=HTTPStatus.CREATED,
                refusals=(HTTPStatus.CONFLICT,))  # fmt: skip
def add_room(session: Session, *, body: RoomName) -> RoomView:
    """Add a room."""
    room = service.add_room(session, name=body.name)
    return RoomView(id=room.id, name=room.name, version=room.version, tables=[])


@edit.operation("PATCH", "/rooms/<key:room>", body=RoomName, reply=RoomView, if_match=True,
                refusals=(HTTPStatus.CONFLICT,))  # fmt: skip
def rename_room(session: Session, *, room: int, body: RoomName, version: Versions) -> RoomView:
    """Give a room another name."""
    found = service.read_room(session, room)
    require_version(found, version)
    service.rename_room(session, found, name=body.name)
    return next(view for view in _rooms(session) if view.id == room)


@edit.operation("DELETE", "/rooms/<key:room>", reply=None, if_match=True, refusals=(HTTPStatus.CONFLICT,))
def remove_room(session: Session, *, room: int, version: Versions) -> None:
    """Take an empty room away."""
    found = service.read_room(session, room)
    require_version(found, version)
    service.remove_room(session, found)


@plan.operation("POST", "/tables/<key:table>/join", body=TableJoin, reply=TableView, refusals=(HTTPStatus.CONFLICT,))
def join_table(session: Session, *, table: int, body: TableJoin) -> TableView:
    """Push a table to another one, or apart again."""
    found = service.read_table(session, table)
    into = service.read_table(session, body.into) if body.into is not None else None
    return _view(session, service.join_tables(session, found, into))


def _floor(session: Session) -> list[tuple[Room, list[service.Seat]]]:
    settings: Settings = current_app.extensions["settings"]
    return service.read_floor(session, at=now(), late=settings.kitchen_thresholds.late)


def _rooms(session: Session) -> list[RoomView]:
    return [
        RoomView(id=room.id, name=room.name, version=room.version, tables=[TableView.of(seat) for seat in seats])
        for room, seats in _floor(session)
    ]


def _view(session: Session, table: Table) -> TableView:
    seats = {seat.table.id: seat for _room, all_ in _floor(session) for seat in all_}
    return TableView.of(seats[table.id])
