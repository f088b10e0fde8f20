"""Who said what, when: word-aligned speaker segments from a recording."""

__version__ = "0.1.0"
