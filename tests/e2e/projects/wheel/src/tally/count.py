import collections
import importlib.resources
import re


def count(text):
    stop = set(importlib.resources.files(__package__).joinpath("stop.txt").read_text().split())
    return collections.Counter(w for w in re.findall(r"[a-z]+", text.lower()) if w not in stop)
