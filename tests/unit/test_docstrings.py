"""Docstrings below attributes are read from the source."""

from __future__ import annotations

from anabranch.graph.docstrings import attribute_docstrings, field_docstrings
from anabranch.graph.fields import Model


class Base(Model):
    inherited: str
    """What stands in the base."""
    kept: str
    """Of the base."""


class Derived(Base):
    kept: str
    """Of the
    derived class."""
    bare: str


def test_a_class_has_the_docstrings_that_it_declares() -> None:
    assert attribute_docstrings(Derived) == {"kept": "Of the\nderived class."}


def test_a_model_has_those_that_it_inherits_and_its_own_win() -> None:
    assert field_docstrings(Derived) == {"inherited": "What stands in the base.", "kept": "Of the\nderived class."}


def test_a_class_without_source_has_none() -> None:
    assert attribute_docstrings(int) == {}
