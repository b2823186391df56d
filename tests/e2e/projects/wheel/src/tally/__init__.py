"""Counts the words of a text."""

from .count import count

__all__ = ["count"]
