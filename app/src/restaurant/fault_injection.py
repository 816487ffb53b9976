"""Fault injection, to test probes, retries and the autoscaler. Disabled unless RESTAURANT_FAULT_INJECTION is true.

Faults are set on the probe port, which guests cannot reach:
``GET /faults?slow=0.5&error=0.1&slow_database=0.2&unready=1``. Faults that are not named are off, so ``GET /faults``
turns them all off.
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
    """The faults of this process: seconds of delay, the ratio of requests that fail, and readiness."""

    model_config = ConfigDict(extra="forbid")

    slow: float = Field(default=0, ge=0, le=30)
    slow_database: float = Field(default=0, ge=0, le=30)
    error: float = Field(default=0, ge=0, le=1)
    unready: bool = False

    @classmethod
    def parse(cls, query: str) -> Faults:
        """The faults that a query string names. Raises `ValueError`."""
        return cls.model_validate(dict(parse_qsl(query)))


class FaultSwitch:
    """Holds the faults that are on."""

    def __init__(self) -> None:
        self.faults = Faults()

    def register(self, app: Flask, database: Database) -> None:
        """Apply the faults to every request of `app`."""

        @app.before_request
        def inject() -> None:
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
