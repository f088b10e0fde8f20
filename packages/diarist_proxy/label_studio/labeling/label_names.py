"""What the name of a label says: a speaker, speech by anybody, nobody's sound, or somebody who is not named.

Label Studio knows only names, so a labeling config says what it means by words, in the languages that teams write them
in. A name that says nothing of the kind ("Ann", "IVR") is taken for somebody's.
"""

from __future__ import annotations

import re
from typing import Literal

Kind = Literal["speaker", "speech", "other", "sound", "name"]

_SPEAKER = frozenset(
    """
    speaker spk spkr agent customer caller callee client operator representative advisor host cohost guest interviewer
    interviewee moderator presenter narrator participant patient doctor clinician nurse therapist teacher student
    lecturer judge lawyer attorney witness defendant officer dispatcher candidate recruiter chair panelist person man
    woman child male female mother father sales support bot assistant user sprecher sprecherin kunde agentin anrufer
    locuteur locutrice interlocuteur hablante locutor orador cliente agente parlante relatore falante spreker mówca
    говорящий спикер оператор клиент 说话人 说话者 話者 화자
    """.split()  # noqa: SIM905 - people read it
)
_SPEECH = frozenset(
    """
    speech voice voiced speaking talk talking spoken utterance segment turn vocal vocals dialogue dialog conversation
    transcript transcription sprache rede stimme segmento parole voix habla voz discurso fala parlato spraak mowa речь
    голос 语音 語音 音声 음성
    """.split()  # noqa: SIM905
)
_OTHER = frozenset(
    """
    unknown unk other others unidentified undefined unclear unsure uncertain unnamed anyone somebody else unbekannt
    andere anderer sonstige inconnu autre desconocido otro otra outro desconhecido sconosciuto altro onbekend
    неизвестный другой 未知 其他 不明 その他
    """.split()  # noqa: SIM905
)
_SOUND = frozenset(
    """
    noise noisy music silence silent pause background event events laughter laugh laughing applause cough coughing
    breath breathing sneeze beep tone ring ringing ringtone dtmf hold static hum click jingle song singing advert
    advertisement ad overlap overlapping crosstalk inaudible unintelligible garbage junk ignore skip sound effect sfx
    siren alarm dog bark barking car engine wind rain rauschen geräusch lärm musik stille pause bruit musique ruido
    ruído música musica silencio silêncio rumore silenzio lawaai szum шум музыка тишина 噪音 噪声 音乐 静音 雑音 音楽
    無音
    """.split()  # noqa: SIM905
)
_NO_SPEECH = re.compile(r"\bno[nt]?[\s_-]*(speech|voice|talk)", re.IGNORECASE)
_NOT_TRANSCRIPT = re.compile(
    r"note|comment|summar|reason|feedback|title|topic|keyword|descri|translat|entit|answer|remark|tag|intent|question",
    re.IGNORECASE,
)


def kind(label: str) -> Kind:
    """What a label's name says.

    >>> [kind(name) for name in ("Speaker 2", "SPEAKER_00", "Speech", "Speech 1", "Noise", "Unknown speaker", "Ann")]
    ['speaker', 'speaker', 'speech', 'speaker', 'sound', 'other', 'name']
    """
    words = re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", label).casefold())
    found = {*words}
    if _NO_SPEECH.search(label) or (found & _SOUND and not found & _SPEAKER):
        return "sound"
    if found & _OTHER or label.strip() in {"?", "??", "???"}:
        return "other"
    if found and found <= _SPEECH | {"speaker", "person", "human"}:
        return "speaker" if re.search(r"\d", label) else "speech"
    return "speaker" if found & _SPEAKER else "name"


def says_speaker(name: str) -> bool:
    """Whether the name of a control or a key says that it holds speakers.

    >>> says_speaker("speaker_labels"), says_speaker("whoSpeaks"), says_speaker("topic")
    (True, True, False)
    """
    return re.search(r"speaker|spk|diari|who|person|talker|sprecher|locut|habla", name, re.IGNORECASE) is not None


def says_no_transcript(name: str) -> bool:
    """Whether the name of a TextArea says that something else than the words spoken belongs there.

    >>> says_no_transcript("transcription"), says_no_transcript("notes")
    (False, True)
    """
    return _NOT_TRANSCRIPT.search(name) is not None
