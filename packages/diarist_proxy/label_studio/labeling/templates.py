"""The labeling configs that `setup` writes: made for correcting who said what, when.

`displayMode="region-list"` shows every text in the panel of regions, ready to edit; Label Studio's own template does
without (https://labelstud.io/tags/textarea). Labels have hotkeys 1 to 9, and colours that people with any colour
vision tell apart.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from xml.sax.saxutils import quoteattr

from diarist.errors import BadRequest

OTHERS = "Unknown"  # the label of whoever is one too many

# Paul Tol's bright and muted schemes (https://sronpersonalpages.nl/~pault/), alternating warm and cold.
COLOURS = (
    "#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377",
    "#332288", "#CC6677", "#117733", "#DDCC77", "#88CCEE", "#882255",
)  # fmt: skip
GREY = "#BBBBBB"
SPEAKERS_AT_MOST = 50


@dataclass(frozen=True, slots=True)
class ConfigChoice:
    """Which config to write: an own one, or ours with these labels.

    Attributes:
        own: XML of the team's own; the rest does not count then.
        labels: names of the speakers' labels, each once.
        dynamic: each task lists its own speakers; its data must have the key `speakers` when it is imported.
        interactive: whether controls are smart, so that a region can be heard again.
    """

    own: str | None = None
    labels: tuple[str, ...] = ("Speaker 1", "Speaker 2", "Speaker 3", "Speaker 4")
    dynamic: bool = False
    interactive: bool = False

    @property
    def xml(self) -> str:
        """The config."""
        if self.own is not None:
            return self.own
        smart = ' smart="true"' if self.interactive else ""
        labels = (
            [f'  <Labels name="speaker" toName="audio" value="$speakers"{smart}/>']
            if self.dynamic
            else [f'  <Labels name="speaker" toName="audio"{smart}>', *_labels(self.labels), "  </Labels>"]
        )
        lines = [
            "<View>",
            *labels,
            '  <Audio name="audio" value="$audio" height="120" zoom="true" speed="true" hotkey="space"/>',
            '  <TextArea name="transcription" toName="audio" perRegion="true" displayMode="region-list"',
            f'            editable="true" rows="2" maxSubmissions="1" placeholder="What was said"{smart}/>',
            "</View>",
        ]
        return "\n".join(lines)


def speakers(number: int) -> tuple[str, ...]:
    """Names for so many speakers.

    >>> speakers(2)
    ('Speaker 1', 'Speaker 2')

    Raises:
        BadRequest: it is not 1 to 50.
    """
    if not 1 <= number <= SPEAKERS_AT_MOST:
        raise BadRequest(f"{number} speakers: 1 to {SPEAKERS_AT_MOST} are possible")
    return tuple(f"Speaker {number}" for number in range(1, number + 1))


def named(given: str) -> tuple[str, ...]:
    """Names of labels, separated by commas, each once.

    >>> named("Agent, Customer,Agent")
    ('Agent', 'Customer')

    Raises:
        BadRequest: there is none.
    """
    names = tuple(dict.fromkeys(name.strip() for name in given.split(",") if name.strip()))
    if not names:
        raise BadRequest("--labels: names separated by commas are needed, as in Agent,Customer")
    return names


def is_empty(xml: str) -> bool:
    """Whether a project has no config yet; Label Studio gives new ones an empty View.

    >>> is_empty("<View></View>"), is_empty('<View><Audio name="a" value="$a"/></View>')
    (True, False)
    """
    return not re.search(r"<(?!/|View\b|!--)\w", re.sub(r"<!--.*?-->", "", xml, flags=re.DOTALL))


def _labels(names: Sequence[str]) -> list[str]:
    coloured = [*zip(names, cycle(COLOURS), strict=False)]
    if OTHERS not in names:
        coloured.append((OTHERS, GREY))
    return [f'    <Label value={quoteattr(name)} background="{colour}"/>' for name, colour in coloured]
