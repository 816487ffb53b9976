"""Faults on request, to see probes, retries and the autoscaler at work. Impossible unless RESTAURANT_FAULTS is true.

They are set on the probes' port, so that no guest can: ``GET /faults?slow=0.5&error=0.1&slow_database=0.2&unready=1``;
what is not named is off, so ``GET /faults`` ends them all.
"""

from __future__ import annotations

import random
import time
from urllib.parse import parse_qsl

from flask import Flask
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import text
from werkzeug.exceptions import InternalServerError

from restaurant.database import Database


class Faults(BaseModel):
    """What goes wrong in this process: seconds of delay, the share of requests that fail, and readiness."""

    model_config = ConfigDict(extra="forbid")

    slow: float = Field(default=0, ge=0, le=30)
    slow_database: float = Field(default=0, ge=0, le=30)
    error: float = Field(default=0, ge=0, le=1)
    unready: bool = False

    @classmethod
    def parse(cls, query: str) -> Faults:
        """The faults that a query string asks for. Raises `ValueError`."""
        return cls.model_validate(dict(parse_qsl(query)))


class FaultSwitch:
    """The faults that are on now."""

    def __init__(self) -> None:
        self.faults = Faults()

    def register(self, app: Flask, database: Database) -> None:
        """Let the faults befall every request of `app`."""

        @app.before_request
        def go_wrong() -> None:
            faults = self.faults
            if faults.slow:
                time.sleep(faults.slow)
            if faults.slow_database:
                # The connection is held meanwhile, as by a slow query.
                with database.reading() as session:
                    session.execute(text("SELECT 1"))
                    time.sleep(faults.slow_database)
            if random.random() < faults.error:
                raise InternalServerError
