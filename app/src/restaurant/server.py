"""gunicorn: one process with threads, a probe server beside it, and a graceful shutdown.

One process per pod keeps the metrics whole and makes a pod's CPU usage meaningful to the autoscaler
(the interpreter uses one core). The worker is never recycled after a number of requests: with a single worker
that would be a pause in service.
"""

from __future__ import annotations

import gc
import signal
import socket
import struct
from types import FrameType
from typing import Any

import structlog
from flask import Flask
from gunicorn.app.base import BaseApplication
from sqlalchemy.pool import QueuePool

from restaurant import __version__, logs
from restaurant.app import create_app
from restaurant.database import Database
from restaurant.gauges import GaugeCollector
from restaurant.lifecycle import Lifecycle
from restaurant.messages.sender import Sender
from restaurant.metrics import BUILD, BUSY, POOL_SIZE, POOL_USED, SATURATION, STREAMS_CAPACITY, THREADS
from restaurant.printing.spooler import Spooler
from restaurant.probes import ProbeServer
from restaurant.settings import Settings

log = structlog.get_logger()

#: Seconds after which a new connection without a request is accepted all the same.
_SILENT_SECONDS = 60
#: Seconds for which a thread waits for a client that neither takes nor sends anything.
_STALLED_SECONDS = 10
#: Bytes of a page that a thread can hand over without waiting for its client.
_LARGEST_PAGE = 192 * 1024


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
            "worker_class": "restaurant.http.worker.Worker",
            "workers": 1,
            "threads": settings.threads,
            "keepalive": settings.keepalive_seconds,
            "graceful_timeout": settings.grace_seconds,
            "timeout": 60,
            # The heartbeat file must be in memory, and the root file system is read-only.
            "worker_tmp_dir": "/dev/shm",  # noqa: S108
            "control_socket_disable": True,
            "logger_class": logs.GunicornLogger,
            "when_ready": _prepare_listeners,
            "post_worker_init": _worker_started,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """Called in the worker process: the engine and its connections belong to it."""
        return create_app(self.settings)


def _prepare_listeners(arbiter: Any) -> None:
    """Give every connection, which inherits these, room for a whole page, and a limit to how long it holds a thread.

    The kernel holds a new connection until it has data: browsers open some in advance.
    """
    for listener in arbiter.LISTENERS:
        listener.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, _SILENT_SECONDS)
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LARGEST_PAGE)
        for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
            listener.sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", _STALLED_SECONDS, 0))


def _worker_started(worker: Any) -> None:
    # Objects created so far live as long as the process. Otherwise each full garbage collection scans them, and every
    # request waits for it (about 0.1 s, several times a minute under load).
    gc.freeze()
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
    Spooler(database).start()
    Sender(database, settings.channels()).start()
    app.extensions["gateway"].start()
    GaugeCollector(database, late=settings.kitchen_thresholds.late).start()
    host, _, port = settings.probes_listen.rpartition(":")
    ProbeServer((host, int(port)), lifecycle, drain_seconds=settings.drain_seconds).start()

    stop = signal.getsignal(signal.SIGTERM)

    def terminate(number: int, frame: FrameType | None) -> None:
        lifecycle.drain()
        if callable(stop):
            stop(number, frame)

    signal.signal(signal.SIGTERM, terminate)
    log.info("serving", listen=settings.listen, probes=settings.probes_listen, threads=settings.threads)
