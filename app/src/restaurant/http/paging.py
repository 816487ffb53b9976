"""Pagination of lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Select
from sqlalchemy.orm import Session


class PageQuery(BaseModel):
    """Which page of a list."""

    model_config = ConfigDict(extra="forbid")

    page: Annotated[int, Field(ge=1, le=10_000)] = 1
    limit: Annotated[int, Field(ge=1, le=100)] = 50


class PageView(BaseModel):
    """A page of a list; `next` is the number of the following page, null on the last one."""

    next: int | None


#: For pages that show a whole list, which is short in a restaurant.
WHOLE = PageQuery.model_construct(page=1, limit=1000)


def read_page(session: Session, query: Select[Any], page: PageQuery) -> tuple[Sequence[Any], int | None]:
    """The entities of one page of `query`, and the number of the following page if there is one."""
    start = (page.page - 1) * page.limit
    # One more than wanted says whether anything follows.
    found = session.scalars(query.offset(start).limit(page.limit + 1)).all()
    return found[: page.limit], page.page + 1 if len(found) > page.limit else None
