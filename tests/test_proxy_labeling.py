"""Any labeling config with an Audio: what is written where, or what to change."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from label_studio_sdk.label_interface import LabelInterface

import labeling_configs as configs
from diarist.errors import BadRequest
from diarist_proxy.label_studio.labeling import GOOD_CONFIG, ConfigUnusable, Labeling, parse
from diarist_proxy.label_studio.labeling.label_names import kind


def controls(found: Labeling) -> tuple[str | None, str | None, bool]:
    return found.labels_name, found.text_name, found.per_region


def labels(*tags: str, control: str = "") -> str:
    inner = "".join(tags)
    return f'<View><Labels name="l" toName="a" {control}>{inner}</Labels><Audio name="a" value="$a"/></View>'


def named(*names: str) -> str:
    return labels(*(f'<Label value="{name}"/>' for name in names))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (configs.SEGMENTS, ("labels", "transcription", True)),
        (configs.WHOLE_TEXT, (None, "transcription", False)),
        (configs.SPEAKERS, ("label", None, False)),
        (configs.SPEECH_TRANSCRIPTION, ("label", "transcription", True)),
        (configs.INTENT, ("labels", None, False)),
        (configs.OTHER_NAMES, ("who", "said", True)),
        (configs.MANY_CONTROLS, ("speaker", "transcription", True)),
        (configs.LABELS_AND_WHOLE_TEXT, ("who", "transcript", False)),
        (configs.TEXT_PER_REGION, (None, "transcription", True)),
        (configs.DYNAMIC, ("speaker", "transcription", True)),
        (configs.TWO_RECORDINGS, ("label", "text", True)),
    ],
)
def test_the_controls_for_speakers_and_text_are_found(
    config: str, expected: tuple[str | None, str | None, bool]
) -> None:
    assert controls(parse(config)) == expected


@pytest.mark.parametrize("config", [*configs.WORKING.values(), GOOD_CONFIG])
def test_the_configs_tested_are_valid_for_label_studio(config: str) -> None:
    LabelInterface(config).validate()


@pytest.mark.parametrize(
    ("config", "assignable", "fallback"),
    [
        (configs.SEGMENTS, ("Speech",), "Speech"),
        (configs.SPEAKERS, ("Speaker one", "Speaker two"), None),
        (configs.INTENT, ("Segment",), "Segment"),
        (configs.OTHER_NAMES, ("Agent", "Customer", "Unknown"), "Unknown"),
        (configs.TWO_RECORDINGS, ("A", "B", "C"), None),
        (configs.DYNAMIC, (), None),
        (named("Agent", "Music", "Customer", "Silence"), ("Agent", "Customer"), None),
        (named("Speaker 1", "Speaker 2", "Unknown", "Noise"), ("Speaker 1", "Speaker 2", "Unknown"), "Unknown"),
        (named("Speaker 1", "Speech"), ("Speaker 1", "Speech"), "Speech"),
        (named("Speech", "Cheering"), ("Speech",), "Speech"),
        (named("Unknown"), ("Unknown",), "Unknown"),
        (named("Ann"), ("Ann",), "Ann"),
        (named("Sprecher 1", "Sprecher 2", "Rauschen"), ("Sprecher 1", "Sprecher 2"), None),
        (labels('<Label value="Agent" alias="ag"/><Label value="Customer" alias="cu"/>'), ("ag", "cu"), None),
        (labels('<Label value="Ann"/><Label value="Bob" diarist="fallback"/>'), ("Ann", "Bob"), "Bob"),
        (labels('<Label value="Ann"/><Label value="Bob"/><Label value="IVR" diarist="ignore"/>'), ("Ann", "Bob"), None),
        (labels('<View><Label value="Ann"/></View><Label value="Bob"/>'), ("Ann", "Bob"), None),
        (
            labels('<Label value="Ann"/><Label value="Bob"/>', control='diarist_fallback_label="Bob"'),
            ("Ann", "Bob"),
            "Bob",
        ),
    ],
)
def test_labels_that_speakers_may_get(config: str, assignable: tuple[str, ...], fallback: str | None) -> None:
    found = parse(config)
    assert (found.labels, found.fallback_label) == (assignable, fallback)


def test_predicted_values_map_speakers_as_label_studio_ml_has_it() -> None:
    found = parse(configs.OTHER_NAMES)
    assert found.speaker_labels == {"SPEAKER_01": "Agent", "SPEAKER_03": "Agent"}


@pytest.mark.parametrize(
    ("config", "most"),
    [
        (configs.SPEAKERS, 2),
        (configs.SEGMENTS, None),
        (configs.DYNAMIC, None),
        (configs.WHOLE_TEXT, None),
        (labels('<Label value="Agent" predicted_values="SPEAKER_00,SPEAKER_02"/><Label value="Customer"/>'), 3),
    ],
)
def test_a_config_tells_how_many_speakers_it_can_label(config: str, most: int | None) -> None:
    assert parse(config).most_speakers == most


def test_the_key_of_the_recording_is_read_from_the_config() -> None:
    assert parse(configs.OTHER_NAMES).audio_key == "url"
    assert parse(configs.TWO_RECORDINGS).audio_name == "call"
    assert parse(configs.DYNAMIC).dynamic_key == "speakers"


def test_an_attribute_decides_where_looks_deceive() -> None:
    config = """<View diarist_language="de">
      <Labels name="speaker" toName="a" diarist="ignore"><Label value="Speaker 1"/></Labels>
      <Labels name="x" toName="a" diarist="speakers"><Label value="Noise"/><Label value="Music"/></Labels>
      <Labels name="y" toName="a"><Label value="Speaker 1"/></Labels>
      <Audio name="b" value="$b"/><Audio name="a" value="$a" diarist="audio"/>
      <TextArea name="transcription" toName="a" perRegion="true"/>
      <TextArea name="notes" toName="a" perRegion="true" diarist="text" diarist_text_format="plain"/>
      <Choices name="c" toName="b"><Choice value="d"/></Choices>
      <Rating name="e" toName="b"/><Rating name="f" toName="b"/><Rating name="g" toName="b"/>
    </View>"""
    found = parse(config)
    assert (found.audio_name, *controls(found)) == ("a", "x", "notes", True)
    assert found.labels == ("Noise", "Music")
    assert found.options == {"language": "de", "text_format": "plain"}
    LabelInterface(config).validate()


def test_a_text_area_is_shown_beside_the_labels_that_speakers_get() -> None:
    config = """<View>
      <Labels name="l" toName="a"><Label value="Ann"/><Label value="Bob"/><Label value="Cat"/></Labels>
      <Audio name="a" value="$a"/>
      <TextArea name="t" toName="a" perRegion="true" whenTagName="l" whenLabelValue="Ann,Bob"/>
    </View>"""
    assert parse(config).labels == ("Ann", "Bob")
    assert parse(config.replace('whenTagName="l"', 'whenTagName="other"')).labels == ("Ann", "Bob", "Cat")


def test_a_text_area_for_noise_is_not_for_what_was_said() -> None:
    config = """<View>
      <Labels name="l" toName="a"><Label value="Speech"/><Label value="Noise"/></Labels>
      <Audio name="a" value="$a"/>
      <TextArea name="of_noise" toName="a" perRegion="true" whenTagName="l" whenLabelValue="Noise"/>
    </View>"""
    assert controls(parse(config)) == ("l", None, False)


def test_notes_are_no_place_for_a_transcript_unless_there_is_no_other() -> None:
    notes = '<TextArea name="notes" toName="audio"/>'
    assert parse(configs.SPEAKERS.replace("</View>", notes + "</View>")).text_name is None
    assert parse(f'<View><Audio name="audio" value="$audio"/>{notes}</View>').text_name == "notes"


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ("", "is empty"),
        ("<View>", "is no XML"),
        ("<View/>", "has no Audio object"),
        ('<View><Video name="v" value="$v"/></View>', "beside the Video"),
        (configs.EVENTS, 'Labels "label" have no label for a speaker or for speech'),
        (configs.QUALITY, "to it point only rating"),
        (configs.HYPOTHESES, "to it point only choices"),
        (configs.DIALOGUE, "Paragraphs show text of the task's data"),
        (configs.VIDEO, "what is seen in the video"),
        (configs.SPEAKERS.replace("$audio", "https://example.com/a.wav"), 'write value="$audio"'),
        (configs.SPEAKERS.replace('value="$audio"', ""), 'write value="$audio"'),
        (configs.SPEAKERS.replace('name="audio" value="$audio"', 'name="a_{{idx}}" value="$a[{{idx}}]"'), "repeated"),
        (configs.SPEAKERS.replace("<Labels ", '<Labels diarist="speaker" '), "speakers, text are known"),
        (configs.SPEAKERS.replace("<Labels ", '<Labels diarist_fallback_label="Nobody" '), "is no label of it"),
        (f"<!DOCTYPE View [<!ENTITY a 'b'>]>{configs.SPEAKERS}", "DOCTYPE"),
        (configs.SPEAKERS.replace("<View>", '<View diarist_language="de"><View diarist_language="en"/>'), "twice"),
    ],
)
def test_a_config_that_cannot_work_says_what_to_change(config: str, told: str) -> None:
    with pytest.raises(ConfigUnusable, match=r"(?s).*") as error:
        parse(config)
    assert told in str(error.value)
    assert isinstance(error.value, BadRequest)


@pytest.mark.parametrize("name", ["sound event detection", "video timeline"])
def test_what_the_message_says_helps(name: str) -> None:
    config = configs.UNUSABLE[name]
    with pytest.raises(ConfigUnusable, match='<Labels diarist="speakers" …>'):
        parse(config)
    assert parse(config.replace("<Labels ", '<Labels diarist="speakers" ')).labels_name is not None


def test_controls_for_other_objects_are_ignored() -> None:
    config = """<View>
      <HyperText name="page" value="$html"/><Labels name="words" toName="page"><Label value="Speaker"/></Labels>
      <Audio name="a" value="$a"/><TextArea name="remarks" toName="page"/><TextArea name="t" toName="a"/>
    </View>"""
    assert controls(parse(config)) == (None, "t", False)


def test_a_control_without_a_name_is_none() -> None:
    with pytest.raises(ConfigUnusable, match="nothing points to it"):
        parse('<View><TextArea toName="a" perRegion="true"/><Audio name="a" value="$a"/></View>')


def test_tags_are_read_as_label_studio_does_whatever_their_case() -> None:
    config = '<View><AudioPlus name="a" value="$a"/><Textarea name="t" toName="a" perRegion="True"/></View>'
    assert controls(parse(config)) == (None, "t", True)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("SPEAKER_07", "speaker"),
        ("spk1", "speaker"),
        ("SpeakerA", "speaker"),
        ("Call center agent", "speaker"),
        ("Background speaker", "speaker"),
        ("Speaker", "speech"),
        ("Voice", "speech"),
        ("Speech 2", "speaker"),
        ("Non-speech", "sound"),
        ("Background noise", "sound"),
        ("Unknown noise", "sound"),
        ("Unknown speaker", "other"),
        ("?", "other"),
        ("说话人", "speaker"),
        ("Dr. Okafor", "name"),
        ("", "name"),
    ],
)
def test_names_say_what_a_label_is_for(name: str, expected: str) -> None:
    assert kind(name) == expected


def test_a_config_is_read_once_and_quickly() -> None:
    many = named(*(f"Speaker {number}" for number in range(1000)))
    started = time.thread_time()  # its own, whatever else the machine does
    assert len(parse(many).labels) == 1000
    assert time.thread_time() - started < 5
    assert parse(many) is parse(many)


def test_reading_a_config_needs_no_label_studio_sdk() -> None:
    code = "import sys, diarist_proxy.label_studio.prediction as p; print('label_studio_sdk' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="packages")
    assert done.stdout.strip() == "False"
