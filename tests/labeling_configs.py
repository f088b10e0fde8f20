"""Labeling configs as teams have them: Label Studio's own templates in short, and what people make of them."""

from __future__ import annotations

SEGMENTS = """<View>
  <Labels name="labels" toName="audio"><Label value="Speech"/><Label value="Noise"/></Labels>
  <Audio name="audio" value="$audio"/>
  <TextArea name="transcription" toName="audio" rows="2" editable="true" perRegion="true" required="true"/>
</View>"""
WHOLE_TEXT = """<View>
  <Audio name="audio" value="$audio" zoom="true" hotkey="ctrl+enter"/>
  <Header value="Provide Transcription"/>
  <TextArea name="transcription" toName="audio" rows="4" editable="true" maxSubmissions="1"/>
</View>"""
SPEAKERS = """<View>
  <Labels name="label" toName="audio" zoom="true" hotkey="ctrl+enter">
    <Label value="Speaker one" background="#00FF00"/><Label value="Speaker two" background="#12ad59"/>
  </Labels>
  <Audio name="audio" value="$audio"/>
</View>"""
SPEECH_TRANSCRIPTION = """<View>
  <Audio name="audio" value="$audio"/>
  <Labels name="label" toName="audio"><Label value="Speech"/><Label value="Noise" background="grey"/></Labels>
  <TextArea name="transcription" toName="audio" perRegion="true" whenTagName="label" whenLabelValue="Speech"
            displayMode="region-list"/>
  <Choices name="sentiment" toName="audio" perRegion="true" whenTagName="label" whenLabelValue="Speech">
    <Choice value="Positive"/><Choice value="Negative"/>
  </Choices>
</View>"""
INTENT = """<View>
  <Labels name="labels" toName="audio"><Label value="Segment"/></Labels>
  <Audio name="audio" value="$audio"/>
  <Choices name="intent" toName="audio" perRegion="true" required="true">
    <Choice value="Question"/><Choice value="Request"/>
  </Choices>
</View>"""
EVENTS = """<View>
  <Labels name="label" toName="audio"><Label value="Event A"/><Label value="Event B"/></Labels>
  <Audio name="audio" value="$audio"/>
</View>"""
QUALITY = """<View><Rating name="rating" toName="audio" maxRating="10"/><Audio name="audio" value="$audio"/></View>"""
DIALOGUE = """<View>
  <Audio name="audio" value="$audio" hotkey="space" sync="text"/>
  <Paragraphs audioUrl="$audio" sync="audio" name="text" value="$text" layout="dialogue" textKey="text"
              nameKey="author"/>
  <ParagraphLabels name="label" toName="text"><Label value="Positive"/><Label value="Negative"/></ParagraphLabels>
</View>"""
HYPOTHESES = """<View>
  <Audio name="audio" value="$audio"/>
  <Choices name="transcriptions" toName="audio" value="$transcriptions" selection="highlight"/>
</View>"""
VIDEO = """<View>
  <Video name="video" value="$video_url" sync="audio"/>
  <Labels name="tricks" toName="audio" choice="multiple"><Label value="Kickflip"/><Label value="360 Flip"/></Labels>
  <Audio name="audio" value="$video_url" sync="video" speed="false"/>
</View>"""

OTHER_NAMES = """<View>
  <Audio name="call" value="$url"/>
  <Labels name="who" toName="call">
    <Label value="Agent" predicted_values="SPEAKER_01,SPEAKER_03"/><Label value="Customer"/><Label value="Unknown"/>
  </Labels>
  <TextArea name="said" toName="call" perRegion="true"/>
</View>"""
MANY_CONTROLS = """<View>
  <Labels name="topic" toName="audio"><Label value="Billing"/><Label value="Delivery"/></Labels>
  <Labels name="sounds" toName="audio"><Label value="Noise"/><Label value="Music"/></Labels>
  <Labels name="speaker" toName="audio">
    <Label value="SPEAKER_00"/><Label value="SPEAKER_01"/><Label value="SPEAKER_02"/>
  </Labels>
  <Labels name="words" toName="text"><Label value="Person"/></Labels>
  <Audio name="audio" value="$audio" zoom="true"/>
  <Text name="text" value="$note"/>
  <TextArea name="notes" toName="audio"/>
  <TextArea name="summary" toName="audio" perRegion="true"/>
  <TextArea name="transcription" toName="audio" rows="2" editable="true" perRegion="true" displayMode="region-list"/>
  <Choices name="emotion" toName="audio" perRegion="true"><Choice value="neutral"/><Choice value="angry"/></Choices>
  <Rating name="quality" toName="audio" perRegion="true" maxRating="5"/>
  <Choices name="language" toName="audio"><Choice value="en"/><Choice value="de"/></Choices>
</View>"""
LABELS_AND_WHOLE_TEXT = """<View>
  <Labels name="who" toName="audio"><Label value="Agent"/><Label value="Customer"/><Label value="Other"/></Labels>
  <Audio name="audio" value="$audio"/>
  <TextArea name="transcript" toName="audio" rows="9"/>
</View>"""
TEXT_PER_REGION = """<View>
  <Audio name="audio" value="$audio"/>
  <TextArea name="transcription" toName="audio" perRegion="true"/>
</View>"""
DYNAMIC = """<View>
  <Labels name="speaker" toName="audio" value="$speakers"/>
  <Audio name="audio" value="$audio"/>
  <TextArea name="transcription" toName="audio" perRegion="true"/>
</View>"""
TWO_RECORDINGS = """<View>
  <Audio name="greeting" value="$greeting"/>
  <Audio name="call" value="$call"/>
  <Labels name="label" toName="call"><Label value="A"/><Label value="B"/><Label value="C"/></Labels>
  <TextArea name="text" toName="call,greeting" perRegion="true"/>
</View>"""

WORKING = {
    "automatic speech recognition using segments": SEGMENTS,
    "automatic speech recognition": WHOLE_TEXT,
    "speaker segmentation": SPEAKERS,
    "speech transcription": SPEECH_TRANSCRIPTION,
    "intent classification": INTENT,
    "other names": OTHER_NAMES,
    "many controls": MANY_CONTROLS,
    "labels and the text of the recording": LABELS_AND_WHOLE_TEXT,
    "text for each region": TEXT_PER_REGION,
    "labels from the task": DYNAMIC,
    "two recordings": TWO_RECORDINGS,
}
UNUSABLE = {
    "sound event detection": EVENTS,
    "signal quality": QUALITY,
    "conversational analysis": DIALOGUE,
    "hypotheses": HYPOTHESES,
    "video timeline": VIDEO,
}
