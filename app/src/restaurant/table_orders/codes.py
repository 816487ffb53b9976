"""The code of a table, which its QR code leads to: signed, so that none can be made up, and numbered, to revoke it."""

from __future__ import annotations

import hashlib
import re

from itsdangerous import BadSignature, Signer
from sqlalchemy.orm import Session

from restaurant.errors import NotFound
from restaurant.floor.models import Table
from restaurant.i18n import gettext as _

_CONTENT = re.compile(r"([1-9][0-9]{0,8})\.([1-9][0-9]{0,8})")


def code_of(table: Table, *, keys: tuple[str, ...]) -> str:
    """The present code of `table`; `keys` are the signing keys, the current one first."""
    return _signer(keys).sign(f"{table.id}.{table.code_number}").decode()


def table_of(code: str, *, keys: tuple[str, ...]) -> int:
    """The key of the table that `code` was made for, revoked or not. Raises `NotFound` for a code that is not valid."""
    return _read(code, keys=keys)[0]


def find_table(session: Session, code: str, *, keys: tuple[str, ...]) -> Table:
    """The table of `code`. Raises `NotFound` when the code is not valid, or was revoked."""
    key, number = _read(code, keys=keys)
    table = session.get(Table, key)
    if table is None or table.code_number != number:
        raise _unknown()
    return table


def renew(session: Session, table: Table) -> None:
    """Revoke the code of `table`: from now on it has another one."""
    table.code_number += 1
    session.flush()


def _read(code: str, *, keys: tuple[str, ...]) -> tuple[int, int]:
    try:
        content = _signer(keys).unsign(code.encode()).decode()
    except (BadSignature, UnicodeError) as error:
        raise _unknown() from error
    found = _CONTENT.fullmatch(content)
    if found is None:
        raise _unknown()
    return int(found[1]), int(found[2])


def _signer(keys: tuple[str, ...]) -> Signer:
    # The newest key, which signs, is the last one to itsdangerous.
    return Signer(list(reversed(keys)), salt=b"table", digest_method=hashlib.sha256)


def _unknown() -> NotFound:
    return NotFound(_("This code is no longer valid. Please scan the one on your table, or ask us."))
