"""The list of weights: what an entry must say, and that the committed list says it."""

from __future__ import annotations

from pathlib import Path

import pytest

from diarist import manifest as manifests
from diarist.errors import ModelMissing
from diarist.manifest import Manifest
from wheels import model

COMMITTED = Path(__file__).parents[1] / "data" / "models.toml"
FILE = '{ path = "model.bin", bytes = 1, sha256 = "' + "0" * 64 + '" }'
WHEEL = 'wheel = { package = "p", version = "1", tag = "py3-none-any", root = "p", bytes = 1 }'
HUB = 'hub = { repo = "a/b", revision = "", wanted = ["*"] }'


def entry(*lines: str, name: str = "m") -> str:
    head = f'[[model]]\nname = "{name}"\nrole = "asr"\nused_by = "tests"\nlicence = "MIT"\nabout = "…"\n'
    return head + "\n".join(lines) + "\n"


def test_the_committed_list_is_as_dump_writes_it() -> None:
    text = COMMITTED.read_text(encoding="utf-8")
    assert manifests.dump(manifests.parse(text)) == text


def test_every_packaged_weight_has_its_hashes_from_the_start() -> None:
    listed = manifests.load(COMMITTED)
    assert {model.name for model in listed.model if model.used_by == "embedded"} == {
        "tiny.en",
        "segmentation-3.0",
        "campplus",
        "sample",
    }
    assert all(model.pinned for model in listed.model if model.wheel)


def test_what_is_dumped_is_read_back_the_same() -> None:
    written = Manifest(model=(model("whisper", "carrier", {'quoted "name".bin': b"x"}),))
    assert manifests.parse(manifests.dump(written)) == written


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (entry(WHEEL), "a wheel's files must be listed"),
        (entry(WHEEL, HUB, f"files = [{FILE}]"), "exactly one of wheel and hub is needed"),
        (entry(), "exactly one of wheel and hub is needed"),
        (entry(HUB, f"files = [{FILE}]"), "revision and files are filled together"),
        (entry(HUB.replace('""', f'"{"a" * 40}"')), "revision and files are filled together"),
        (entry(HUB.replace('""', '"main"')), "hub.revision: String should match pattern"),
        (entry(WHEEL, f"files = [{FILE.replace('0' * 64, 'made up')}]"), "sha256: String should match pattern"),
        (entry(WHEEL, f"files = [{FILE.replace('model.bin', '../model.bin')}]"), "stays inside its folder"),
        (entry(WHEEL, f"files = [{FILE.replace('model.bin', '/model.bin')}]"), "stays inside its folder"),
        (entry(WHEEL, f"files = [{FILE}]", name="../m"), "name: String should match pattern"),
        (entry(WHEEL, f"files = [{FILE}]", "extra = 1"), "extra: Extra inputs are not permitted"),
        (entry(WHEEL, f"files = [{FILE}]") + entry(WHEEL, f"files = [{FILE}]", name="M"), "named more than once: m"),
        ("[[model]", "is not TOML"),
    ],
)
def test_a_wrong_entry_is_refused_with_the_reason(text: str, problem: str) -> None:
    with pytest.raises(ModelMissing) as error:
        manifests.parse(text, source="list.toml")
    assert str(error.value).startswith("list.toml ")
    assert problem in str(error.value)


def test_an_absent_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match=rf"the list of weights {tmp_path}/models\.toml cannot be read"):
        manifests.load(tmp_path / "models.toml")
