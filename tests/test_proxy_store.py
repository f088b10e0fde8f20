"""What the proxy keeps is there after a restart, once, and for nobody else's eyes."""

from __future__ import annotations

import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from diarist.errors import BadRequest
from diarist_proxy import database, store
from diarist_proxy.settings import ProxySettings
from diarist_proxy.store import Correction, Store, StoredPrediction
from proxy_databases import new_database, postgres, proxy_settings

PREDICTION = StoredPrediction(7, 12, "v1", "f00", "computed", {"result": [], "score": 0.5}, None, 9.5, 1000.0)
CORRECTION = Correction(7, 12, 31, "v1", 40.5, {"words": 10, "wrong": 2}, 1000.0)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> ProxySettings:
    if request.param == "sqlite":
        return proxy_settings(tmp_path / "data")
    return proxy_settings(tmp_path / "data", new_database(request.getfixturevalue("server")))


@pytest.fixture
def kept(settings: ProxySettings) -> Iterator[Store]:
    opened = Store.open(settings)
    yield opened
    opened.close()


def test_values_are_there_after_a_restart_by_scope(settings: ProxySettings) -> None:
    first = Store.open(settings)
    first.set("project:7", "config", {"xml": "<View/>", "n": [1, None, 0.5, "é"]})
    first.set("project:7", "config", {"xml": "<View></View>"})
    first.set("project:8", "config", False)
    first.close()
    second = Store.open(settings)
    assert second.get("project:7", "config") == {"xml": "<View></View>"}
    assert second.items("project:8") == {"config": False}
    second.delete("project:7", "config")
    second.delete("project:7", "never there")
    assert second.get("project:7", "config") is None
    assert second.items("project:7") == {}
    second.close()


def test_a_task_has_one_prediction_by_model_version(kept: Store) -> None:
    kept.save_prediction(PREDICTION)
    kept.save_prediction(replace(PREDICTION, state="pushed", prediction_id=99))
    kept.save_prediction(replace(PREDICTION, model_version="v2", task=13))
    assert kept.prediction(12, "v1") == replace(PREDICTION, state="pushed", prediction_id=99)
    assert kept.prediction(12, "v2") is None
    assert set(kept.predictions([12, 13, 14], "v1")) == {12}


def test_of_many_who_see_a_prediction_one_may_hand_it_out(kept: Store) -> None:
    kept.save_prediction(PREDICTION)
    seen = kept.prediction(12, "v1")
    assert seen is not None
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: kept.hand_out(seen), range(16))) == 1
    again = kept.prediction(12, "v1")
    assert again is not None
    assert again.updated_at > seen.updated_at


def test_the_predictions_of_a_thousand_tasks_are_one_query(kept: Store) -> None:
    for task in range(3):
        kept.save_prediction(replace(PREDICTION, task=task))
    statements: list[str] = []
    sa.event.listen(kept.engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    assert set(kept.predictions(list(range(1000)), "v1")) == {0, 1, 2}
    assert len(statements) == 1


def test_what_is_known_of_deleted_tasks_is_forgotten(kept: Store) -> None:
    kept.save_prediction(PREDICTION)
    kept.save_prediction(replace(PREDICTION, task=13))
    kept.save_correction(CORRECTION)
    kept.save_correction(replace(CORRECTION, annotation=32, task=13, project=8))
    kept.forget_tasks([12, 400])
    assert kept.prediction(12, "v1") is None
    assert kept.prediction(13, "v1") is not None
    assert [row.annotation for row in kept.corrections()] == [32]


def test_an_annotation_corrected_again_counts_once(kept: Store) -> None:
    kept.save_correction(CORRECTION)
    kept.save_correction(replace(CORRECTION, lead_time=50.0))
    kept.save_correction(replace(CORRECTION, annotation=32, project=8, lead_time=None, model_version=None))
    assert kept.corrections(7) == (replace(CORRECTION, lead_time=50.0),)
    assert len(kept.corrections()) == 2
    kept.forget_corrections([31])
    assert kept.corrections(7) == ()


def test_an_answer_can_be_taken_again_after_a_crash_and_is_forgotten_when_it_is_old(
    kept: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kept.take_result("r1") is None
    kept.put_result("r1", {"data": {"duration": 1.0}})
    kept.put_result("r1", {"data": {"duration": 2.0}})
    assert kept.take_result("r1") == kept.take_result("r1") == {"data": {"duration": 2.0}}
    later = time.time() + store.RESULTS_KEPT_SECONDS + 1
    monkeypatch.setattr(time, "time", lambda: later)
    kept.put_result("r2", {})
    assert kept.take_result("r1") is None
    assert kept.take_result("r2") == {}


def test_processes_that_start_together_make_the_tables_once(settings: ProxySettings) -> None:
    given = {"data_dir": str(settings.data_dir)}
    if settings.database_url:
        given["database_url"] = settings.database_url.get_secret_value()
    code = (
        "from diarist_proxy.settings import ProxySettings; from diarist_proxy.store import Store; "
        f"s = Store.open(ProxySettings.model_validate({given!r})); s.set('a', 'b', 1); s.close()"
    )
    root = Path(__file__).parents[1] / "packages"
    processes = [subprocess.Popen([sys.executable, "-c", code], env={"PYTHONPATH": str(root)}) for _ in range(4)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0, 0, 0]


def test_only_the_owner_can_read_the_file(tmp_path: Path) -> None:
    opened = Store.open(proxy_settings(tmp_path / "data"))
    opened.set("a", "b", 1)
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    files = list((tmp_path / "data").iterdir())
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert any(file.name.endswith("-wal") for file in files)
    opened.close()


def test_a_database_of_a_newer_version_is_left_alone(settings: ProxySettings) -> None:
    opened = Store.open(settings)
    with opened.engine.begin() as connection:
        connection.execute(database.schema.update().values(version=database.SCHEMA_VERSION + 1))
    opened.close()
    with pytest.raises(BadRequest, match=r"written by a newer diarist \(schema 2, this one knows 1\)"):
        Store.open(settings)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://me:hidden@host/db", "begins with mysql: postgresql://user:password@host/database is needed"),
        ("postgresql://me:hidden@host", "postgresql://user:password@host/database is needed"),
        ("hidden", "is no URL"),
        ("postgresql://me:hidden@127.0.0.1:9/db", "cannot be used: "),
    ],
)
def test_a_database_that_cannot_be_used_is_named_without_its_password(tmp_path: Path, url: str, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        Store.open(proxy_settings(tmp_path, url))
    assert message in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadRequest, match=r"file/data/diarist\.sqlite cannot be written .*DIARIST_PROXY_DIR"):
        Store.open(proxy_settings(tmp_path / "file" / "data"))


def test_settings_have_the_names_that_label_studio_ml_users_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THREADS", "5")
    monkeypatch.setenv("MODEL_DIR", "/models")
    monkeypatch.setenv("LABEL_STUDIO_HOST", "http://one")
    monkeypatch.setenv("DIARIST_LABEL_STUDIO_URL", "http://two")
    read = ProxySettings()
    assert (read.threads, read.data_dir, read.label_studio_url) == (5, Path("/models"), "http://two")
    assert ProxySettings(threads=6, data_dir=Path("/other")).threads == 6


def test_variables_of_the_system_and_of_the_model_are_no_settings_of_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LANGUAGE", "HOST", "ENDPOINT", "BACKEND", "HOTWORDS"):
        monkeypatch.setenv(name, "en_GB:en")
    monkeypatch.setenv("DIARIST_THREADS", "77")
    monkeypatch.setenv("DIARIST_DATA_DIR", "/the/models/own")
    read = ProxySettings()
    assert (read.language, read.host, read.endpoint, read.hotwords) == (None, "127.0.0.1", "local", None)
    assert read.threads != 77
    assert read.data_dir != Path("/the/models/own")


def test_a_path_secret_is_one_part_of_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIARIST_PATH_SECRET", "a/b")
    with pytest.raises(ValueError, match="one part of a path"):
        ProxySettings()
