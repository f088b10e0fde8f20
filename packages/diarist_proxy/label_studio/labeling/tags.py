"""The elements of a labeling config: XML in, tags with their attributes out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from diarist.errors import BadRequest

GOOD_CONFIG = """<View>
  <Labels name="speaker" toName="audio"><Label value="Speaker 1"/><Label value="Speaker 2"/></Labels>
  <Audio name="audio" value="$audio"/>
  <TextArea name="transcription" toName="audio" perRegion="true" editable="true" displayMode="region-list"/>
</View>"""
_ROLES = frozenset({"audio", "speakers", "text", "fallback", "ignore"})
AUDIO_TAGS = frozenset({"audio", "audioplus"})  # in lower case; AudioPlus is an old name


class ConfigUnusable(BadRequest):
    """The project's labeling config leaves nothing to write to; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Tag:
    """An element of the config; `tag` is in lower case, as Label Studio reads it."""

    tag: str
    attributes: Mapping[str, str]
    inner: tuple[Mapping[str, str], ...] = ()  # attributes of the Label elements in it, at any depth

    @property
    def name(self) -> str:
        """Its name; empty where it has none."""
        return self.attributes.get("name", "")

    @property
    def role(self) -> str | None:
        """What a team says that it is for: the value of diarist="…"."""
        return self.attributes.get("diarist")

    def says(self, attribute: str) -> bool:
        """Whether an attribute is true."""
        return self.attributes.get(attribute, "").strip().lower() == "true"

    def points_to(self, name: str) -> bool:
        """Whether it is a control of that object; Label Studio passes over controls without a name."""
        return bool(self.name) and name in (part.strip() for part in self.attributes.get("toName", "").split(","))


def read(xml: str) -> Iterator[Tag]:
    """Every element, in document order.

    Raises:
        ConfigUnusable: it is no XML, or more than plain XML.
    """
    if "<!DOCTYPE" in xml or "<!ENTITY" in xml:
        raise ConfigUnusable("the labeling config has a DOCTYPE or an entity: leave them out")
    try:
        root = ET.fromstring(xml)  # noqa: S314 - nothing that declares an entity gets this far
    except ET.ParseError as error:
        said = "is empty" if not xml.strip() else f"is no XML: {error}"
        raise ConfigUnusable(f"the labeling config {said}; one that works is\n{GOOD_CONFIG}") from None
    for element in root.iter():
        labels = tuple(dict(each.attrib) for each in element.iter() if each.tag.lower() == "label")
        tag = Tag(element.tag.lower(), dict(element.attrib), labels)
        if tag.role is not None and tag.role not in _ROLES:
            raise ConfigUnusable(f'diarist="{tag.role}" on <{element.tag}>: {", ".join(sorted(_ROLES))} are known')
        yield tag
