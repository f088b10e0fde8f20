"""The request that every door speaks: one recording, and what to do with it.

`parse_request` turns a JSON object into a checked, frozen `TranscriptionRequest`. Its errors name the key,
say what is allowed, and never repeat a value, since a value may be a signed URL.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from diarist.errors import BadRequest
from diarist.types import Transcript

OutputFormat = Literal["json", "srt", "vtt", "txt", "tsv", "rttm", "seglst", "label_studio", "html"]
Task = Literal["transcribe", "translate"]
Channels = Literal["mix", "split"]
SpeakerCount = Annotated[int, Field(ge=1, le=50, strict=True)]
Flag = Annotated[bool, Field(strict=True)]
Text = Annotated[str, StringConstraints(strict=True, max_length=4000)]
Url = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=8000)]
Base64 = Annotated[str, StringConstraints(strict=True)]
Coordinate = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=-1e6, le=1e6)]
LanguageCode = Annotated[str, StringConstraints(strict=True, to_lower=True, pattern=r"^[A-Za-z]{2,3}$")]


@dataclass(frozen=True, slots=True)
class Gates:
    """What text must pass to count as speech.

    Names and meaning are faster-whisper's. The first two defaults are stricter than its 0.6 and -1.0, because
    "Woohoo!" heard in hum has 0.58 and -0.8, while hesitant speech has lower and higher ones.
    """

    no_speech_threshold: float = 0.5
    log_prob_threshold: float = -0.5
    compression_ratio_threshold: float = 2.4


@dataclass(frozen=True, slots=True)
class Options:
    """What the pipeline is asked to do with a waveform; `None` leaves the choice to the models."""

    language: str | None = None
    languages: tuple[str, ...] = ()  # those expected, where the language is to be detected; none: any
    task: Task = "transcribe"
    num_speakers: int | None = None
    min_speakers: int | None = None
    max_speakers: int | None = None
    diarize: bool = True
    align: bool = True
    initial_prompt: str | None = None
    hotwords: str | None = None
    channels: Channels = "mix"
    threshold: float | None = None  # cosine distance at which the fine diarizer stops merging voices
    return_embeddings: bool = False
    gates: Gates = Gates()
    retry_uncovered: bool = True  # hear speech once more that no word covers


class LabelStudioTarget(BaseModel):
    """The names in a labeling config that regions are written for; the defaults are the seed's template."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    labels_name: str | None = Field("labels", description="name of the Labels control; null writes no labels")
    text_name: str | None = Field("transcription", description="name of the TextArea; null writes no text")
    audio_name: str = Field("audio", description="name of the Audio object that both point to")
    labels: tuple[str, ...] | None = Field(
        None, description="labels of the config, in its order; null uses the speakers' own labels"
    )
    speaker_labels: Mapping[str, str] = Field(
        default_factory=dict, description='label of the config for a speaker, as {"SPEAKER_00": "Agent"}'
    )
    fallback_label: str | None = Field(None, description="for speakers beyond the labels, and for none")

    @model_validator(mode="after")
    def _check_controls(self) -> LabelStudioTarget:
        if self.labels_name is None and self.text_name is None:
            raise ValueError("labels_name and text_name are both null, so no region can be written: name one control")
        if self.labels is not None and not self.labels:
            raise ValueError("labels is empty: name the labels of the config, or leave it out")
        for key, wanted in (
            ("speaker_labels", self.speaker_labels.values()),
            ("fallback_label", [self.fallback_label]),
        ):
            if self.labels is not None and not {*wanted} <= {*self.labels, None}:
                raise ValueError(f"{key} names a label that is not among labels: add it there, or change it")
        return self


class KnownSpeaker(BaseModel):
    """Somebody whose voice is known, by a clip or by a vector of an earlier answer."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=100)] = Field(
        description="the label that the speaker gets, without white space"
    )
    audio_file: Url | None = Field(None, description="http(s) URL of a clip of the voice alone, up to 60 s")
    audio_b64: Base64 | None = Field(None, repr=False, description="the clip itself, base64")
    embedding: Annotated[tuple[Coordinate, ...], Field(min_length=1, max_length=4096)] | None = Field(
        None, repr=False, description="the voice's vector, from embeddings of an answer of the same model_version"
    )

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if re.search(r"\s", name) or not name.isprintable() or name == "<NA>":
            message = "white space, control characters and <NA> cannot stand in RTTM and STM: write Ann_Smith"
            raise ValueError(message)
        if re.fullmatch(r"SPEAKER_\d+", name):
            message = "SPEAKER_ with a number is what unknown speakers are called: choose another name"
            raise ValueError(message)
        return name

    @model_validator(mode="after")
    def _check_source(self) -> KnownSpeaker:
        given = [source for source in ("audio_file", "audio_b64", "embedding") if getattr(self, source) is not None]
        if len(given) != 1:
            message = f"exactly one of audio_file (URL), audio_b64 and embedding is needed, {len(given)} were given"
            raise ValueError(message)
        if self.embedding is not None and not any(self.embedding):
            message = "the embedding is all zeros, which is no voice"
            raise ValueError(message)
        return self


class DiarizationOptions(BaseModel):
    """What can be changed about telling speakers apart."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    threshold: Annotated[float, Field(ge=0.1, le=1.0, strict=True)] | None = Field(
        None, description="cosine distance at which voices stop being one: less finds more speakers; fine diarizer only"
    )


_GATES = Gates()


class TranscriptionOptions(BaseModel):
    """What can be changed about hearing words."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    no_speech_threshold: Annotated[float, Field(ge=0, le=1, strict=True)] = Field(
        _GATES.no_speech_threshold,
        description="text is dropped where silence is likelier than this and its log-probability is under the next",
    )
    log_prob_threshold: Annotated[float, Field(ge=-10, le=0, strict=True)] = Field(
        _GATES.log_prob_threshold, description="mean log-probability of a text's tokens"
    )
    compression_ratio_threshold: Annotated[float, Field(ge=1, le=100, strict=True)] = Field(
        _GATES.compression_ratio_threshold,
        description="text that shrinks more than this under zlib repeats itself: it is heard anew, or dropped",
    )
    retry_uncovered: Flag = Field(
        True, description="speech that no word covers is heard once more, in windows of its own"
    )


_Earlier = Annotated[InstanceOf[Transcript], WithJsonSchema({"type": "object"})]


def _earlier(value: Any) -> Transcript | None:  # noqa: ANN401 - whatever JSON held
    from diarist.formats import seed  # noqa: PLC0415 - the formats import this module

    if value is None:
        return None
    try:
        transcript = seed.from_dict(value)
    except BadRequest as error:
        raise ValueError(str(error)) from None
    for number, segment in enumerate(transcript.segments):
        if segment.text.strip() and not segment.words:
            message = f"model_output.{number}.words: words with times are needed, as the answer in json has them"
            raise ValueError(message)
    return transcript


_FOR_SPEAKERS = (
    "num_speakers",
    "min_speakers",
    "max_speakers",
    "diarization",
    "known_speakers",
    "return_embeddings",
)
_FOR_DIARIZING = (*_FOR_SPEAKERS, "diarize", "transcript")
_FOR_TRANSCRIBING = ("language", "languages", "task", "diarize", "align", "initial_prompt", "hotwords", "transcription")


class TranscriptionRequest(BaseModel):
    """One recording and what to do with it; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    audio_file: Url | None = Field(None, description="http(s) URL of the recording")
    audio_b64: Base64 | None = Field(None, repr=False, description="the recording itself, base64")
    language: LanguageCode | None = Field(None, description="Whisper's code; null detects it")
    languages: Annotated[tuple[LanguageCode, ...], Field(min_length=1, max_length=10)] | None = Field(
        None, description="codes of the languages expected, 1 to 10: the one that is detected is one of them"
    )
    task: Task = Field("transcribe", description="translate writes English")
    num_speakers: SpeakerCount | None = Field(None, description="exact number, when known")
    min_speakers: SpeakerCount | None = Field(None, description="at least so many people speak")
    max_speakers: SpeakerCount | None = Field(None, description="at most so many people speak")
    diarize: Flag = Field(True, description="false leaves every speaker null")
    align: Flag = Field(True, description="false runs no alignment model: word times come from the transcriber")
    initial_prompt: Text | None = Field(None, description="text that primes the transcriber's style")
    hotwords: Text | None = Field(None, description="words to expect, space-separated")
    transcription: TranscriptionOptions | None = Field(
        None,
        description="the gates that text must pass, and whether missed speech is heard again: docs/http.md",
    )
    channels: Channels = Field(
        "mix",
        description="split takes each channel for one speaker, SPEAKER_00 on the first, and diarizes nothing",
    )
    transcript: Annotated[_Earlier | None, BeforeValidator(_earlier)] = Field(
        None,
        repr=False,
        description="an earlier answer in json: its words keep text and times and get speakers anew; "
        "the recording is needed again, and is not transcribed again",
    )
    known_speakers: Annotated[tuple[KnownSpeaker, ...], Field(min_length=1, max_length=20)] | None = Field(
        None, description="1 to 20 people who get their names where their voices are heard"
    )
    diarization: DiarizationOptions | None = Field(None, description="how speakers are told apart: {threshold}")
    return_embeddings: Flag = Field(False, description="add a voice vector for each speaker")
    output: OutputFormat = Field("json", description="form of the answer")
    label_studio: LabelStudioTarget | None = Field(None, description='names for output "label_studio"')
    result_url: Url | None = Field(
        None, description="presigned http(s) URL to PUT the answer to, errors too; the reply then holds the rest"
    )
    stream: Flag = Field(False, description="answer with progress events, one JSON object a line")

    @model_validator(mode="after")
    def _check_audio(self) -> TranscriptionRequest:
        if (self.audio_file is None) == (self.audio_b64 is None):
            given = "neither was" if self.audio_file is None else "both were"
            message = f"exactly one of audio_file (URL) and audio_b64 is needed, {given} given"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _check_speakers(self) -> TranscriptionRequest:
        if self.num_speakers and (self.min_speakers or self.max_speakers):
            message = "num_speakers is exact: leave out min_speakers and max_speakers beside it"
            raise ValueError(message)
        if self.num_speakers and self.diarization and self.diarization.threshold:
            message = "num_speakers is exact, so a threshold changes nothing: leave out one of the two"
            raise ValueError(message)
        if self.min_speakers and self.max_speakers and self.min_speakers > self.max_speakers:
            message = f"min_speakers ({self.min_speakers}) is greater than max_speakers ({self.max_speakers})"
            raise ValueError(message)
        names = [speaker.name for speaker in self.known_speakers or ()]
        if len(set(names)) < len(names):
            message = "known_speakers: two have the same name; one clip or embedding a name is enough"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _check_contradictions(self) -> TranscriptionRequest:
        if self.language and self.languages:
            message = "language says which it is and languages lets one be detected: leave out one of the two"
            raise ValueError(message)
        if self.channels == "split" and (given := self._given(_FOR_DIARIZING)):
            message = f"channels split takes each channel for one speaker: leave out {given}"
            raise ValueError(message)
        if self.transcript is not None and (given := self._given(_FOR_TRANSCRIBING)):
            message = f"transcript keeps its words and gets new speakers: leave out {given}"
            raise ValueError(message)
        if not self.diarize and (given := self._given(_FOR_SPEAKERS)):
            message = f"diarize: false tells no speakers apart: leave out {given}"
            raise ValueError(message)
        if self.label_studio is not None and self.output != "label_studio":
            message = f'label_studio belongs to output "label_studio", not to "{self.output}"'
            raise ValueError(message)
        return self

    def _given(self, keys: tuple[str, ...]) -> str:
        """Which of these keys ask for something, comma-separated: their value is not the default."""
        fields = type(self).model_fields
        return ", ".join(key for key in keys if getattr(self, key) != fields[key].default)

    def options(self) -> Options:
        """The part of the request that the pipeline reads."""
        hearing = self.transcription or TranscriptionOptions()
        return Options(
            language=self.language,
            languages=self.languages or (),
            task=self.task,
            num_speakers=self.num_speakers,
            min_speakers=self.min_speakers,
            max_speakers=self.max_speakers,
            diarize=self.diarize,
            align=self.align,
            initial_prompt=self.initial_prompt,
            hotwords=self.hotwords,
            channels=self.channels,
            threshold=self.diarization.threshold if self.diarization else None,
            return_embeddings=self.return_embeddings,
            gates=Gates(
                no_speech_threshold=hearing.no_speech_threshold,
                log_prob_threshold=hearing.log_prob_threshold,
                compression_ratio_threshold=hearing.compression_ratio_threshold,
            ),
            retry_uncovered=hearing.retry_uncovered,
        )


def parse_request(body: Any) -> TranscriptionRequest:  # noqa: ANN401 - whatever JSON held
    """Check a JSON body.

    Raises:
        BadRequest: something is missing, unknown, of the wrong type, or contradicts itself.
    """
    if not isinstance(body, Mapping):
        message = f"the request must be a JSON object, not {_json_type(body)}"
        raise BadRequest(message)
    _check_text(body)
    try:
        return TranscriptionRequest.model_validate(dict(body))
    except ValidationError as error:
        raise BadRequest(_explained(error.errors(include_input=False))) from None


def _check_text(body: Mapping[str, Any]) -> None:
    """Refuse lone surrogates, which JSON can spell and no answer can be encoded with."""
    for key, value in body.items():
        inside = [key, value]
        while inside:
            part = inside.pop()
            if isinstance(part, str) and not part.isascii() and _SURROGATE.search(part):
                name = key if not _SURROGATE.search(key) else "a key"
                raise BadRequest(f"{name[:_LONGEST_KEY]}: half of a surrogate pair is no text; send valid Unicode")
            if isinstance(part, Mapping):
                inside += [*part.keys(), *part.values()]
            elif isinstance(part, list):
                inside += part


_SURROGATE = re.compile("[\ud800-\udfff]")
_LONGEST_KEY = 100  # characters of a caller's own key that a message repeats


def _explained(items: Sequence[Any]) -> str:
    """What is wrong with a body, a few problems of it; not that a list lacks the elements that are wrong themselves."""
    deeper = {item["loc"][:length] for item in items for length in range(len(item["loc"]))}
    told = [item for item in items if not (item["type"] == "too_short" and item["loc"] in deeper)]
    rest = len(told) - _MOST_PROBLEMS
    more = [f"and {rest} more problem{'s'[: rest != 1]} like these"] if rest > 0 else []
    return "; ".join([*map(_explain, told[:_MOST_PROBLEMS]), *more])


_MOST_PROBLEMS = 8  # that one message names


def _explain(item: Any) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    key = ".".join(str(part) for part in item["loc"])[:_LONGEST_KEY]
    if item["type"] == "extra_forbidden":
        allowed = TranscriptionRequest if len(item["loc"]) == 1 else _INNER[item["loc"][0]]
        return f"unknown key {key!r}; known keys: {', '.join(allowed.model_fields)}"
    if item["type"] == "string_pattern_mismatch" and "language" in key:
        return f"{key}: Whisper's code is needed, two or three letters as in en, de or yue"
    if item["type"] in {"model_type", "model_attributes_type"} and item["loc"][0] in _INNER:
        return f"{key}: it must be an object with some of the keys {', '.join(_INNER[item['loc'][0]].model_fields)}"
    reason = item["msg"].removeprefix("Value error, ").replace("Tuple", "Array").replace("valid tuple", "valid array")
    reason = reason.replace(" after validation, not 0", "")
    return f"{key}: {reason}" if key else reason


_INNER: Mapping[str, type[BaseModel]] = {
    "label_studio": LabelStudioTarget,
    "diarization": DiarizationOptions,
    "transcription": TranscriptionOptions,
    "known_speakers": KnownSpeaker,
}


def _json_type(value: object) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), "null" if value is None else type(value).__name__)
