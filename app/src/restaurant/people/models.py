"""Staff, their sessions and sign-in attempts."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from restaurant.database import Base
from restaurant.people.permissions import Permission, Role, Rule, permits
from restaurant.types import Moment, choice, now


class User(Base):
    """A person who can sign in."""

    __tablename__ = "staff"

    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(String(40), unique=True)
    name: Mapped[str] = mapped_column(String(80))
    role: Mapped[Role] = mapped_column(choice(Role))
    password_hash: Mapped[str] = mapped_column(String(200))
    pin_hash: Mapped[str | None] = mapped_column(String(200))
    badge_hash: Mapped[str | None] = mapped_column(String(64))
    active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime] = mapped_column(Moment, default=now)
    version: Mapped[int] = mapped_column()

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  # SQLAlchemy reads it from the class
    __table_args__ = (Index("uq_staff_badge_hash", "badge_hash", unique=True),)

    def may(self, rule: Rule) -> bool:
        """Whether this person passes `rule`."""
        return permits(self.role, rule)


class LoginSession(Base):
    """A session on one device. Only the token's hash is kept, and deleting the row ends the session."""

    __tablename__ = "login_session"

    id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("staff.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(Moment, default=now)
    seen_at: Mapped[datetime] = mapped_column(Moment, default=now)
    user: Mapped[User] = relationship()


class LoginAttempts(Base):
    """Failed attempts for a user name, an address or both together since the last success."""

    __tablename__ = "login_attempts"

    subject: Mapped[str] = mapped_column(String(120), primary_key=True)
    failures: Mapped[int]
    blocked_until: Mapped[datetime] = mapped_column(Moment)


class Approval(Base):
    """A manager's approval of one action, given on someone else's device; valid once, for a short time."""

    __tablename__ = "approval"

    id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    permission: Mapped[Permission] = mapped_column(choice(Permission))
    approver_id: Mapped[int] = mapped_column(ForeignKey("staff.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = mapped_column(Moment, default=now)
    approver: Mapped[User] = relationship()
