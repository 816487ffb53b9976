"""The engine, units of work, and the lock under which migrations run.

A unit of work is explicit: ``with database.writing() as session`` commits at its end and rolls back on any
exception. On SQLite a writing unit begins with ``BEGIN IMMEDIATE``, so that it waits for the one writer at its
start instead of failing in its middle.
"""

from __future__ import annotations

import fcntl
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import structlog
from sqlalchemy import Connection, Dialect, Engine, MetaData, create_engine, event, inspect, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, IntegrityError, InvalidatePoolError, OperationalError
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from restaurant.errors import Conflict
from restaurant.metrics import POOL_WAIT, PRIMARY_CHANGES
from restaurant.settings import Settings

if TYPE_CHECKING:
    import psycopg
    from alembic.config import Config

log = structlog.get_logger()

#: The schema this code was written for. Known without Alembic, which a pod that only serves never loads.
HEAD = "0036"

#: Any constant, the same in every pod: the key of PostgreSQL's advisory lock around migrations.
MIGRATION_LOCK = 7_240_318
#: The same for transactions that hold tables for bookings.
BOOKING_LOCK = MIGRATION_LOCK + 1

#: How long a statement of a request may run on PostgreSQL, in milliseconds.
STATEMENT_TIMEOUT_MS = 15_000

#: How long a transaction of a request may do nothing: a pod that hangs in its middle must not hold locks.
IDLE_TRANSACTION_TIMEOUT_MS = 20_000

#: A connection that was used within this many seconds is taken to be alive.
_TRUSTED_SECONDS = 2.0

_REPEATABLE_READ = {"isolation_level": "REPEATABLE READ"}

#: How long a server has to accept a connection, in seconds: the only one, or one of several.
_CONNECT_SECONDS = 5
_CONNECT_NEXT_SECONDS = 2

#: How long names of several servers are waited for, in seconds, before the last known addresses are used.
_RESOLVE_SECONDS = 2.0

#: What several servers answer while none accepts writes: shutting down, crashed, starting, and read-only.
_NOT_NOW = frozenset({"57P01", "57P02", "57P03", "25006"})

#: Where a session keeps what is to be done once it is committed.
_ON_COMMIT = "on_commit"
#: Where it keeps whether its effect has a key, under which it can be executed again.
_KEYED = "keyed"


class Base(DeclarativeBase):
    """Root of all models. Constraints have predictable names so that errors can be distinguished."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class _Turns(threading.local):
    """Whose turn it is to write to SQLite: threads queue here, where SQLite would have them sleep and try again."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._mine = False

    def begin(self) -> None:
        """Wait for this thread's turn, unless it has it already."""
        if not self._mine:
            self._lock.acquire()
            self._mine = True

    def end(self) -> None:
        """Let the next thread write."""
        if self._mine:
            self._mine = False
            self._lock.release()


class _Commits(threading.local):
    """How many commits this thread has begun that must not be executed twice."""

    count = 0


class Database:
    """The one engine of a process and its two kinds of units of work. As a context it closes its connections."""

    def __init__(self, settings: Settings) -> None:
        self.sqlite_file = settings.sqlite_file()
        #: What PINs are hashed with, so that a copy of the database alone does not tell them.
        self.signing_keys = settings.signing_keys
        #: Whether another server can take over from the one that accepts writes.
        self.has_replicas = settings.has_replicas()
        self._turns = _Turns(threading.Lock())
        self._commits = _Commits()
        #: When the last connection was established, by the monotonic clock.
        self.connected_at = float("-inf")
        self.engine = _make_engine(settings, self._turns)
        event.listen(self.engine, "connect", self._connected)
        whole = {} if self.sqlite_file is not None else _REPEATABLE_READ
        self._reading = sessionmaker(self.engine, expire_on_commit=False)
        self._snapshot = sessionmaker(self.engine.execution_options(**whole), expire_on_commit=False)
        self._writing = sessionmaker(
            self.engine.execution_options(immediate=True),
            expire_on_commit=False,
            info={"signer": settings.signer(), "post": settings.post(), "deposits": settings.deposits()},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.engine.dispose()

    def _connected(self, _connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
        self.connected_at = time.monotonic()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that is never committed."""
        with self._reading() as session:
            self._separate(session.connection())
            yield session

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """As `reading`, for statements that need no session."""
        with self.engine.connect() as connection:
            self._separate(connection)
            yield connection

    def _separate(self, connection: Connection) -> None:
        # PostgreSQL's READ COMMITTED gives each statement a view of its own anyway; so reading needs no transaction,
        # nor the two round trips that begin and end one. SQLAlchemy's own AUTOCOMMIT takes longer than a small
        # statement; `_check_rested` sets it back.
        if self.sqlite_file is None:
            _driver(connection.connection.dbapi_connection).autocommit = True

    @contextmanager
    def snapshot(self) -> Iterator[Session]:
        """A session that is never committed and sees one moment however many statements it takes."""
        with self._snapshot() as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session committed at the end of the block, rolled back when the block raises."""
        try:
            with self._writing() as session:
                with session.begin():
                    yield session
                    if _KEYED not in session.info:
                        self._commits.count += 1
                for action in session.info.get(_ON_COMMIT, ()):
                    action()
        finally:
            self._turns.end()

    def commits(self) -> int:
        """How many commits without a key this thread has begun: if no more were, its work can be executed again.

        The outcome of a commit is unknown when the connection is lost meanwhile. With a key, that does not matter: the
        second execution finds what the first one did.
        """
        return self._commits.count

    def is_away(self, error: DBAPIError) -> bool:
        """Whether `error` means that the server is not there, rather than that it refused something."""
        if self.sqlite_file is not None:
            return False
        state = getattr(error.orig, "sqlstate", None)
        return error.connection_invalidated or state in _NOT_NOW or (state is None and _is_failure(error))

    def ping(self) -> None:
        """Raise what the driver raises when the database does not answer."""
        with self.engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    def at_head(self) -> bool:
        """Whether the schema is the one this code was written for."""
        with self.engine.connect() as connection:
            return _revision(connection) == HEAD

    def migrate(self) -> bool:
        """Bring the schema to this code's version, and return whether there was anything to do.

        Processes that start together take turns, so one of them migrates.
        """
        from alembic import command

        with self.migration_lock() as connection:
            config = alembic_config()
            config.attributes["connection"] = connection
            before = _revision(connection)
            # Alembic commits each migration itself, but not inside a transaction it finds already begun.
            connection.rollback()
            command.upgrade(config, "head")
            log.info("schema is up to date", revision=_revision(connection), before=before)
            return before != HEAD

    @contextmanager
    def migration_lock(self) -> Iterator[Connection]:
        """A connection of its own that holds the lock other starting processes wait for."""
        connection = self.engine.connect().execution_options(immediate=True)
        try:
            if self.sqlite_file is not None:
                with Path(f"{self.sqlite_file}.lock").open("w") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX)
                    yield connection
            else:
                connection.execute(text("SET statement_timeout = 0"))
                connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
                connection.commit()
                yield connection
        finally:
            # Dropping the connection releases the lock and forgets its settings.
            connection.invalidate()
            connection.close()
            self._turns.end()


def alembic_config() -> Config:
    """Alembic's configuration: the scripts are in the package, so there is no ini file to ship."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    return config


def flush(session: Session, *, conflicts: Mapping[tuple[str, str], Callable[[], Conflict]]) -> None:
    """Flush, and raise the conflict of a unique constraint that is violated.

    Constraints go by their name, as PostgreSQL says it, and by table and column, as SQLite does.
    """
    try:
        session.flush()
    except IntegrityError as error:
        for names, conflict in conflicts.items():
            if any(violated(error, name) for name in names):
                raise conflict() from error
        raise


def violated(error: IntegrityError, constraint: str) -> bool:
    """Whether `error` comes from the named constraint or trigger."""
    diagnosis = getattr(error.orig, "diag", None)
    name = getattr(diagnosis, "constraint_name", None)
    return name == constraint if name else constraint in str(error.orig)


def has_key(session: Session) -> None:
    """Declare that the effect of this unit of work is bound to a key, so that it happens once however often it runs."""
    session.info[_KEYED] = True


def on_commit(session: Session, action: Callable[[], None]) -> None:
    """Call `action` once the unit of work of `session` is committed, and never if it is rolled back."""

    session.info.setdefault(_ON_COMMIT, []).append(action)


def _is_failure(error: DBAPIError) -> bool:
    # Errors of libpq, such as those of a connection that was never established, have no SQLSTATE.
    return isinstance(error, OperationalError)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def _make_engine(settings: Settings, turns: _Turns) -> Engine:
    url = settings.engine_url()
    if (file := settings.sqlite_file()) is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(url, pool_size=settings.threads, max_overflow=0, connect_args={"timeout": 5})
        event.listen(engine, "connect", _prepare_sqlite)

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            if connection.get_execution_options().get("immediate", False):
                turns.begin()
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                connection.exec_driver_sql("BEGIN")

    else:
        engine = create_engine(
            url,
            pool_size=settings.database_pool_size,
            max_overflow=0,
            pool_timeout=10,
            pool_recycle=300,
            connect_args={
                "connect_timeout": _CONNECT_NEXT_SECONDS if settings.has_replicas() else _CONNECT_SECONDS,
                "application_name": "restaurant",
                "options": f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c timezone=UTC "
                f"-c idle_in_transaction_session_timeout={IDLE_TRANSACTION_TIMEOUT_MS}",
                "tcp_user_timeout": 5000,
                # A server that is lost while it waits for its replicas has nothing left to acknowledge.
                "keepalives_idle": 3,
                "keepalives_interval": 2,
                "keepalives_count": 2,
            },
        )
        _check_rested(engine)
        _remember_addresses(engine)
    _measure_checkout(engine)
    return engine


def _prepare_sqlite(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    # The driver's own BEGIN comes too late for reads and is never IMMEDIATE: it is switched off here and
    # sent by the engine's begin event.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=5000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _check_rested(engine: Engine) -> None:
    """Ping a connection that was idle; SQLAlchemy's own pre-ping does so at every checkout.

    Connections rest with transactions, which reading does without.
    """

    @event.listens_for(engine, "checkin")
    def rest(connection: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
        if connection is not None and _driver(connection).autocommit:
            _driver(connection).autocommit = False
        record.info["rested_since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def wake(connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: PoolProxiedConnection) -> None:
        since = record.info.get("rested_since")
        if since is None or time.monotonic() - since < _TRUSTED_SECONDS:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            # The pool discards its connections to this server and reconnects.
            raise InvalidatePoolError from error


def _driver(connection: DBAPIConnection | None) -> psycopg.Connection:
    """`connection` as what it is on PostgreSQL."""
    return cast("psycopg.Connection", connection)


def _remember_addresses(engine: Engine) -> None:
    """Connect to the last known addresses of the servers while their names cannot be resolved.

    When a node fails, some DNS queries go to the name server that failed with it until the cluster notices; requests in
    the meantime must not fail. Of several servers, the one that accepted writes last is tried first.
    """
    known: dict[str, list[str]] = {}
    primary: list[tuple[str, str]] = []

    @event.listens_for(engine, "do_connect")
    def find(_dialect: Dialect, _record: object, _arguments: object, parameters: dict[str, Any]) -> None:
        hosts = str(parameters.get("host", "")).split(",")
        if not hosts[0] or hosts[0].startswith("/"):
            return  # a Unix socket
        ports = str(parameters.get("port", "")).split(",")
        if len(ports) < len(hosts):
            ports = ports[:1] * len(hosts)
        _resolve(hosts, known)
        found = [
            (host, address, port) for host, port in zip(hosts, ports, strict=True) for address in known.get(host, ())
        ]
        if not found:
            return
        found.sort(key=lambda entry: (entry[0], entry[2]) not in primary)
        for name, values in zip(("host", "hostaddr", "port"), zip(*found, strict=True), strict=True):
            if any(values):
                parameters[name] = ",".join(values)

    @event.listens_for(engine, "connect")
    def found(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
        about = _driver(connection).info
        server = (about.host, str(about.port))
        if primary and server not in primary:
            PRIMARY_CHANGES.inc()
            log.warning("another database server accepts writes", host=server[0], before=primary[0][0])
        primary[:] = [server]


def _resolve(hosts: list[str], known: dict[str, list[str]]) -> None:
    """Bring the addresses of `hosts` up to date; those that are not found in time stay as they are known."""

    def look_up(host: str) -> None:
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            known[host] = list(dict.fromkeys(str(address[0]) for *_, address in found))
        except socket.gaierror as error:
            log.warning("name not found", host=host, error=str(error), last=known.get(host, []))

    if len(hosts) == 1:
        look_up(hosts[0])
        return
    # At the same time: each can take seconds, and most attempts to connect are made while a host is lost.
    threads = [threading.Thread(target=look_up, args=(host,), daemon=True) for host in hosts]
    for thread in threads:
        thread.start()
    until = time.monotonic() + _RESOLVE_SECONDS
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))


def _measure_checkout(engine: Engine) -> None:
    """Observe how long a thread waits for a connection: the first sign of a pool that is too small."""
    acquire = engine.pool.connect

    def connect() -> Any:
        start = time.perf_counter()
        try:
            return acquire()
        finally:
            POOL_WAIT.observe(time.perf_counter() - start)

    engine.pool.connect = connect  # type: ignore[method-assign]
