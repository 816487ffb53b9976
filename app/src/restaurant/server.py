"""gunicorn: one process with threads, its probes beside it, and an orderly end.

One process per pod keeps the metrics whole and makes a pod's CPU use mean what the autoscaler thinks it means
(the interpreter uses one core). The worker is never recycled after a number of requests: with a single worker
that would be a pause in service.
"""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

import structlog
from flask import Flask
from gunicorn.app.base import BaseApplication
from sqlalchemy.pool import QueuePool

from restaurant import __version__, logs
from restaurant.app import create_app
from restaurant.database import Database
from restaurant.house import HouseCollector
from restaurant.lifecycle import Lifecycle
from restaurant.metrics import BUILD, BUSY, POOL_SIZE, POOL_USED, SATURATION, STREAMS_CAPACITY, THREADS
from restaurant.probes import ProbeServer
from restaurant.settings import Settings

log = structlog.get_logger()


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no type information
    """gunicorn, configured from `Settings` alone."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        super().__init__()

    def load_config(self) -> None:
        """Called by gunicorn: all its settings, none from files or its own environment variable."""
        settings = self.settings
        options = {
            "bind": [settings.listen],
            "worker_class": "gthread",
            "workers": 1,
            "threads": settings.threads,
            "keepalive": settings.keepalive_seconds,
            "graceful_timeout": settings.grace_seconds,
            "timeout": 60,
            # The heartbeat file must not lie on a disk, and the root file system is read-only.
            "worker_tmp_dir": "/dev/shm",  # noqa: S108
            "control_socket_disable": True,
            "logger_class": logs.GunicornLogger,
            "post_worker_init": _worker_started,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """Called in the worker process: the engine and its connections belong to it."""
        return create_app(self.settings)


def _worker_started(worker: Any) -> None:
    app: Flask = worker.wsgi
    settings: Settings = app.extensions["settings"]
    lifecycle: Lifecycle = app.extensions["lifecycle"]
    THREADS.set(settings.threads)
    SATURATION.set_function(lambda: BUSY.mean() / settings.threads)
    database: Database = app.extensions["database"]
    pool = database.engine.pool
    assert isinstance(pool, QueuePool), "the engine's own choice"  # noqa: S101
    POOL_SIZE.set(pool.size())
    POOL_USED.set_function(pool.checkedout)
    STREAMS_CAPACITY.set(app.extensions["hub"].capacity)
    BUILD.info({"version": __version__})
    HouseCollector(database, late=settings.patience.late).start()
    host, _, port = settings.probes_listen.rpartition(":")
    ProbeServer((host, int(port)), lifecycle, drain_seconds=settings.drain_seconds).start()

    stop = signal.getsignal(signal.SIGTERM)

    def terminate(number: int, frame: FrameType | None) -> None:
        lifecycle.drain()
        if callable(stop):
            stop(number, frame)

    signal.signal(signal.SIGTERM, terminate)
    log.info("serving", listen=settings.listen, probes=settings.probes_listen, threads=settings.threads)
