"""What Hydra and OmegaConf say of a configuration that cannot be composed, in our words: the setting, what it takes."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any

from birefnet_batch.redaction import Redactor

# Hydra's own advice: a plus sign that leads to the next error, a variable for its developers, its internals.
_NOISE = re.compile(r"To append to your config|Set the environment variable|See https://|\s*(reference|object)_type=")
_UNKNOWN = re.compile(r"Could not override '([^']+)'")
_FULL_KEY = re.compile(r"full_key: (\S+)")
_NO_CHOICE = re.compile(r"Could not find '([^']+)/([^']*)'\s+Available options in '[^']+':((?:\n\t\S+)+)")
_GROUP_TWICE = re.compile(r"Multiple values for (\S+)\. To override a value use 'override [^:]+: ([^']*)'")
# In a defaults list a group is looked for beside the file itself, which is what a slash keeps Hydra from.
_NO_SLASH = re.compile(
    r"In '([^']+)': Could not (?:override '[^']*/(\w+)@\w+'|find '[^']*/(\w+)/([^/']+)'\s+Config search path)"
)
_KEY = re.compile(r"[+~]{0,2}[\w.@/-]+")
LITERAL = r"to mean the characters ${ themselves, put a backslash before them: '\${'"


def explained(error: Exception) -> str:
    """One error of composing in one line, without secrets: what was given, what is allowed."""
    word = getattr(error, "override", None)
    if isinstance(word, str):
        return unreadable(word, str(error))
    text = "\n".join(filter(None, (str(error), str(error.__cause__ or ""))))
    choice = _NO_CHOICE.search(text)
    if choice:
        group, name, there = choice.groups()
        return f"{group}={name} names no configuration; {group} has {', '.join(there.split())}"
    if "Config group override must be" in text:
        return "a group such as experiment= is given the name of a configuration; to have none, leave it out"
    twice = _GROUP_TWICE.search(text)
    if twice:
        group, name = twice.groups()
        return f"{group} has a value already; another one {_chosen(group, name)}"
    beside = _NO_SLASH.search(text)
    if beside:
        file, overridden, found, name = beside.groups()
        group = overridden or found
        return f"{file}.yaml chooses from the group {group} without `override` or its slash; it {_chosen(group, name)}"
    key = _FULL_KEY.search(text)
    unknown = _UNKNOWN.search(text)
    if unknown or (key and " not in '" in text):
        found = unknown or key
        assert found is not None
        return no_setting(found.group(1))
    # Line by line: what hides an option's value hides all that follows it.
    redactor = Redactor({})
    lines = [redactor.text(line.strip()) for line in text.splitlines() if line.strip() and not _NOISE.match(line)]
    if "storage.options" in text:
        lines = [line.partition(" value: ")[0] for line in lines]
    said = "; ".join(dict.fromkeys(line.rstrip(".") for line in lines if not line.startswith(("full_key:", "^"))))
    said = said.replace("Error merging override ", "").replace("LexerNoViableAltException: ", "cannot be read: ")
    if key:
        said += _takes(key.group(1).partition("[")[0])
    if "Dict[str, Any]" in said and "storage.options" in text:
        said += "; give options by their names, storage.options.SCHEME.NAME=VALUE"
    if "${" in text or "nterpolation" in text:
        said += f"; {LITERAL}"
    return said


def _chosen(group: str, name: str | None) -> str:
    name = name or "NAME"
    return (
        f"is chosen by {group}={name} on a command line, without a plus, and by `- override /{group}: {name}` in the "
        "defaults list of an experiment"
    )


def unreadable(word: str, reason: str, sweep: bool = False) -> str:
    """That a word of a command line cannot be read; where its value may be secret the reason is left out.

    Args:
        word: as it was given.
        reason: what the parser says of it.
        sweep: whether commas separate the values of a sweep.
    """
    redactor, (key, equals, value) = Redactor({}), word.partition("=")
    if not equals or not _KEY.fullmatch(key):
        return (
            f"{shown_word(word)} is no KEY=VALUE; a setting's name, the equals sign and its value are one word without "
            "spaces, and a video is given as request.video_url=VIDEO"
        )
    lines = [redactor.text(line.strip().rstrip(".")) for line in reason.splitlines() if not _NOISE.match(line)]
    because = "" if redactor.text(word) != word else f" ({'; '.join(filter(None, lines))})"
    several = f', and of several values each: \'{key}="VALUE","VALUE"\'' if sweep and "," in value else ""
    return (
        f"the value of {key} cannot be read{because}; one with brackets, braces, quotes or characters such as @ % * & "
        f"has quotes of its own inside of the shell's: '{key}=\"VALUE\"'{several}"
    )


def shown_word(word: str) -> str:
    """A word that is no `KEY=VALUE`, without its secrets: of an option of storage not even what follows its name."""
    head, option, _ = word.partition("storage.options")
    return Redactor({}).words([f"{head}{option}..." if option else word])[0]


def no_setting(key: str) -> str:
    """That there is no setting of this name, and which there are in its place."""
    from birefnet_batch.settings import Settings

    if key.partition(".")[0] == "experiment":
        return (
            "experiment is no setting; a file of experiments begins with the line `# @package _global_`, without a "
            "byte order mark, and settings follow: KEY: VALUE"
        )
    kind: type[Any] = Settings
    place = ""
    for part in key.split("."):
        known = {item.name: item for item in fields(kind)}
        if part not in known:
            return f"{place}{part} is no setting; {place.rstrip('.') or 'the top level'} has {_listed(part, known)}"
        item = known[part]
        place += f"{part}."
        default = item.default_factory() if callable(item.default_factory) else item.default
        if isinstance(default, dict):
            return (
                f"{key} is not there; {place.rstrip('.')} are {item.metadata['help']}: a new one takes a plus, +{key}"
            )
        if not is_dataclass(default) or isinstance(default, type):
            return f"{key} is no setting; {place.rstrip('.')} has no parts"
        kind = type(default)
    return f"{key} is a group of settings; give one of {_listed('', [f'{place}{item.name}' for item in fields(kind)])}"


def _listed(part: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(part, list(known), 1)
    return f"{', '.join(known)}{f'; did you mean {near[0]}?' if near else ''}"


def _takes(key: str) -> str:
    from birefnet_batch.settings import describe

    return next((f"; {name}: {text}" for name, _, text in describe() if name == key), "")
