"""Pagination of lists by keys: a page begins after the last row of the one before.

So no row is shown twice or left out when others are added or removed in the meantime, and a late page is read as fast
as the first.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError
from pydantic_core import to_json
from sqlalchemy import ColumnElement, Select, and_, false, literal, or_
from sqlalchemy.orm import QueryableAttribute, Session

from restaurant.errors import Invalid
from restaurant.i18n import gettext as _
from restaurant.types import LARGEST

#: What the keys of a row may be, by the type of their column. Whatever else is sent never reaches the database.
_KINDS: dict[type, Any] = {
    int: Annotated[int, Field(ge=-LARGEST - 1, le=LARGEST)],
    str: Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00]*$")],
    datetime: Annotated[
        AwareDatetime,
        Field(ge=datetime.fromisoformat("2000-01-01T00:00Z"), le=datetime.fromisoformat("2200-01-01T00:00Z")),
    ],
}


class PageQuery(BaseModel):
    """Which page of a list: what follows `after`, which is the `next` of the page before."""

    model_config = ConfigDict(extra="forbid")

    after: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,600}$")] | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 50


class PageView(BaseModel):
    """A page of a list; `next` is sent as `after` to get the following page, and is null on the last one."""

    next: str | None


#: For pages that show a whole list, which is short in a restaurant.
WHOLE = PageQuery.model_construct(after=None, limit=100_000)


@dataclass(frozen=True)
class Sort:
    """A column by which a list is sorted; the columns of a list together are different in each row, and never null."""

    column: ColumnElement[Any] | QueryableAttribute[Any]
    descending: bool = False


def read_page(
    session: Session, query: Select[Any], page: PageQuery, *, by: Sequence[Sort]
) -> tuple[Sequence[Any], str | None]:
    """The entities of one page of `query`, sorted, and what to send as `after` for the following page if there is one.

    Raises `Invalid` for an `after` that is no page's of this list.
    """
    if page.after is not None:
        query = query.where(_beyond(by, _read_token(page.after, by)))
    query = query.order_by(*(sort.column.desc() if sort.descending else sort.column.asc() for sort in by))
    # One more than wanted says whether anything follows.
    rows = session.execute(query.add_columns(*(sort.column for sort in by)).limit(page.limit + 1)).all()
    following = _write_token(rows[page.limit - 1][1:]) if len(rows) > page.limit else None
    return [row[0] for row in rows[: page.limit]], following


def _beyond(by: Sequence[Sort], values: Sequence[Any]) -> ColumnElement[bool]:
    """What is true for rows after the one with these keys: PostgreSQL's row comparison knows only one direction."""
    condition: ColumnElement[bool] = false()
    for sort, value in reversed(list(zip(by, values, strict=True))):
        key = literal(value, sort.column.type)
        later = sort.column < key if sort.descending else sort.column > key
        condition = or_(later, and_(sort.column == key, condition))
    return condition


def _write_token(values: Sequence[Any]) -> str:
    return base64.urlsafe_b64encode(to_json(list(values))).rstrip(b"=").decode()


def _read_token(token: str, by: Sequence[Sort]) -> Sequence[Any]:
    kinds = tuple(_KINDS[sort.column.type.python_type] for sort in by)
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        keys: Sequence[Any] = TypeAdapter(tuple[kinds]).validate_json(text, strict=True)  # type: ignore[valid-type]
    except (ValidationError, binascii.Error, ValueError) as error:
        fields = {"/after": _("This value is not valid.")}
        raise Invalid(_("Some values are missing or invalid."), fields=fields) from error
    return keys
