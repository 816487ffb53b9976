"""What the API takes and says about people and sessions."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints

from restaurant.http.paging import PageView
from restaurant.people.permissions import Permission, Role
from restaurant.people.service import PASSWORD_MINIMUM
from restaurant.types import Name

Username = Annotated[
    str, StringConstraints(strip_whitespace=True, to_lower=True, pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._-]{1,39}$")
]
NewPassword = Annotated[SecretStr, Field(min_length=PASSWORD_MINIMUM, max_length=200)]


class Credentials(BaseModel):
    """A user name and its password."""

    model_config = ConfigDict(extra="forbid")

    username: Annotated[str, Field(max_length=40)]
    password: Annotated[SecretStr, Field(max_length=200)]


class ApprovalRequest(Credentials):
    """A manager's name and password, PIN or badge (`password`), and what is confirmed with them."""

    permission: Literal[Permission.VOID_LINES, Permission.DISCOUNT, Permission.REFUND]


class ApprovalView(BaseModel):
    """Proof of a confirmation, to be sent with the one action it is for within two minutes."""

    approval: str


class SessionView(BaseModel):
    """A new session: send the token as ``Authorization: Bearer <token>``."""

    token: str
    role: Role
    permissions: list[Permission]


class PersonView(BaseModel):
    """A person who can sign in."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    username: str
    name: str
    role: Role
    active: bool
    version: int


class PasswordChange(BaseModel):
    """One's password, and the one to have instead."""

    model_config = ConfigDict(extra="forbid")

    current: Annotated[SecretStr, Field(max_length=200)]
    new: NewPassword


class PinChange(BaseModel):
    """One's password, and the PIN to have; null withdraws it."""

    model_config = ConfigDict(extra="forbid")

    current: Annotated[SecretStr, Field(max_length=200)]
    pin: Annotated[SecretStr, Field(max_length=20)] | None = None


class BadgeView(BaseModel):
    """The text of a badge, which is shown once."""

    badge: str


class PeopleView(PageView):
    """Everybody."""

    items: list[PersonView]


class NewPerson(BaseModel):
    """A person to add."""

    model_config = ConfigDict(extra="forbid")

    username: Username
    name: Name
    role: Role
    password: NewPassword


class PersonChange(BaseModel):
    """What to change of a person; what is absent stays."""

    model_config = ConfigDict(extra="forbid")

    name: Name | None = None
    role: Role | None = None
    active: bool | None = None
    password: NewPassword | None = None
