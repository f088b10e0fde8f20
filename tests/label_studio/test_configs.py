"""Label Studio's own templates, as it ships them, and configs of other kinds get what they have room for."""

from __future__ import annotations

from pathlib import Path

import pytest

import label_studio_environment
from conversations import Conversation
from label_studio_environment import LabelStudio
from proxy_environment import Proxy
from regions import regions, speakers_match


def template(folder: Path, name: str) -> str:
    """A file with the labeling config of a stock template, from the Label Studio that runs here."""
    pattern = f"lib/*/site-packages/label_studio/annotation_templates/*/{name}/config.xml"
    (found,) = label_studio_environment.executable().parents[1].glob(pattern)
    return written(folder, found.read_text(encoding="utf-8"))


def written(folder: Path, xml: str) -> str:
    path = folder / "config.xml"
    path.write_text(xml, encoding="utf-8")
    return str(path)


def test_automatic_speech_recognition_using_segments(
    label_studio: LabelStudio, shared_proxy: Proxy, calls: tuple[Conversation, ...], tmp_path: Path
) -> None:
    config = template(tmp_path, "automatic-speech-recognition-using-segments")
    project = shared_proxy.set_up("Segments", "--config", config)
    (task,) = label_studio.upload(project, calls[0].path)
    (prediction,) = label_studio.wait_for_predictions(project, [task])[task]
    found = regions(prediction["result"])
    assert {region.label for region in found} == {"Speech"}
    assert len(found) == len(calls[0].turns)
    assert all(region.text for region in found)


def test_speaker_segmentation(
    label_studio: LabelStudio, shared_proxy: Proxy, calls: tuple[Conversation, ...], tmp_path: Path
) -> None:
    project = shared_proxy.set_up("Speakers alone", "--config", template(tmp_path, "speaker-segmentation"))
    (task,) = label_studio.upload(project, calls[0].path)
    (prediction,) = label_studio.wait_for_predictions(project, [task])[task]
    found = regions(prediction["result"])
    assert {region.label for region in found} == {"Speaker one", "Speaker two"}
    assert speakers_match(found, calls[0].turns)
    assert {region.text for region in found} == {None}


@pytest.mark.parametrize(
    ("text_format", "expected"), [("speakers", "SPEAKER_01: "), ("srt", "00:00:0"), ("plain", None)]
)
def test_one_recording_with_its_whole_text(  # noqa: PLR0917 - fixtures
    label_studio: LabelStudio,
    shared_proxy: Proxy,
    calls: tuple[Conversation, ...],
    tmp_path: Path,
    text_format: str,
    expected: str | None,
) -> None:
    project = shared_proxy.set_up(
        f"Whole text as {text_format}",
        "--config",
        template(tmp_path, "automatic-speech-recognition"),
        "--extra-params",
        f'{{"text_format": "{text_format}"}}',
    )
    (task,) = label_studio.upload(project, calls[0].path)
    (prediction,) = label_studio.wait_for_predictions(project, [task])[task]
    (item,) = prediction["result"]
    (text,) = item["value"]["text"]
    assert item["from_name"] == "transcription"
    assert "Tell me what happened" in text
    assert (expected or "") in text
    assert expected is not None or "SPEAKER" not in text


def test_speakers_that_each_task_names_by_itself(
    label_studio: LabelStudio, shared_proxy: Proxy, calls: tuple[Conversation, ...]
) -> None:
    project = shared_proxy.set_up("Dynamic", "--dynamic")
    storage = label_studio.documents / "dynamic"
    storage.mkdir(parents=True, exist_ok=True)
    (storage / "call.flac").write_bytes(calls[0].path.read_bytes())
    label_studio.post("/api/storages/localfiles/", project=project, path=str(storage), use_blob_urls=True)
    data = {"audio": "/data/local-files/?d=dynamic/call.flac", "speakers": []}
    (task,) = label_studio.import_tasks(project, [data])
    (prediction,) = label_studio.wait_for_predictions(project, [task])[task]
    found = regions(prediction["result"])
    assert speakers_match(found, calls[0].turns)
    (stored,) = label_studio.tasks(project)
    assert {each["value"] for each in stored["data"]["speakers"]} == {region.label for region in found}
    assert stored["data"]["audio"] == data["audio"]


def test_the_models_speakers_get_the_labels_that_predicted_values_name(
    label_studio: LabelStudio, shared_proxy: Proxy, calls: tuple[Conversation, ...], tmp_path: Path
) -> None:
    config = """<View>
      <Labels name="who" toName="call">
        <Label value="Customer" predicted_values="SPEAKER_00"/><Label value="Agent" predicted_values="SPEAKER_01"/>
      </Labels>
      <Choices name="mood" toName="call" perRegion="true"><Choice value="angry"/></Choices>
      <TextArea name="note" toName="call"/>
      <TextArea name="said" toName="call" perRegion="true"/>
      <Audio name="call" value="$url" diarist_num_speakers="2"/>
    </View>"""
    project = shared_proxy.set_up("Mapped", "--config", written(tmp_path, config))
    (task,) = label_studio.upload(project, calls[0].path)
    (prediction,) = label_studio.wait_for_predictions(project, [task])[task]
    found = regions(prediction["result"])
    assert [region.label for region in found] == ["Customer", "Agent", "Customer"]
    assert all(region.text for region in found)


def test_a_config_that_cannot_work_is_refused_with_what_to_change(
    label_studio: LabelStudio, shared_proxy: Proxy, tmp_path: Path
) -> None:
    image = written(tmp_path, '<View><Image name="image" value="$image"/></View>')
    refused = shared_proxy.command(
        "setup", "--title", "Images", "--config", image, "--backend-url", shared_proxy.url, check=False
    )
    assert refused.returncode == 2
    assert "no Audio object" in refused.stderr
    project = label_studio.create_project('<View><Image name="image" value="$image"/></View>')
    with pytest.raises(label_studio_environment.Refused, match="look like a valid ML backend"):  # by hand too
        label_studio.connect(project, shared_proxy.url)
