"""Nothing secret in files and logs: options of storage libraries, variables of processes, and URLs anywhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from birefnet_batch.url_redaction import redact, redact_text, redact_value

HIDDEN = "***"
# Of an option that is not listed here nothing is shown: what a library calls its secrets is its own affair.
_HARMLESS = frozenset(
    (
        *("endpoint_url", "region_name", "region", "project", "account_name", "account_host", "location", "anon"),
        *("use_ssl", "verify", "signature_version", "addressing_style", "requester_pays", "default_location"),
        *("connect_timeout", "read_timeout", "timeout", "max_attempts", "mode", "max_concurrency", "profile"),
        *("default_block_size", "default_fill_cache", "default_cache_type", "version_aware", "blocksize"),
        *("ServerSideEncryption", "SSEKMSKeyId", "StorageClass", "ACL", "consistency", "check_connection"),
    )
)
_SECRET_NAME = r"(?:key|token|secret|passw|credential|auth|sas\b)"
_SECRET_VARIABLE = re.compile(_SECRET_NAME, re.IGNORECASE)
# Settings that are variables of processes: of Ray's workers, and of this one by Hydra's means.
_VARIABLE_KEYS = ("env_vars", "env_set")
# A value may hold anything: it ends with its line, or where the next option begins.
_OPTION = r"(storage\.options[\w.]*|storage(?==['\"]?\{.*?\boptions\b))=(.*?)(?=[,\s]+\+*storage\.options|$)"
_SECRET_SETTING = (
    rf"((?:executor\.runtime_env\.env_vars|hydra\.job\.env_set)\.\w*?{_SECRET_NAME}\w*"
    r"|(?:executor(?:\.runtime_env(?:\.env_vars)?)?|hydra(?:\.job(?:\.env_set)?)?)"
    rf"(?==['\"]?\{{.*?{_SECRET_NAME}\w*['\"]?\s*:))"
    r"=(.*?)(?=[,\s]+\+*(?:storage\.options|executor\.|hydra\.)|$)"
)
# A setting's value that is a data URI, in a word of a command line or in a list of such words.
_DATA_SETTING = re.compile(r"(?:^|,)[+~]{0,2}[\w.@/-]+=(['\"]?)(?=data:)", re.IGNORECASE)
# What is shorter is a word such as false, or stands in the middle of others: it is hidden by name alone. So is the one
# long word that an option of gcsfs takes instead of a secret.
_SHORTEST_SECRET = 8
_WORD = "google_default"
_VARIABLE = re.compile(r"\$\{oc\.env:\w+\}")


def shown_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of `storage.options` as they may be kept: unknown values hidden, URLs without their secrets."""
    return {str(name): _shown(str(name), value) for name, value in options.items()}


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return shown_options(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str) and _VARIABLE.fullmatch(value):
        return value
    if name not in _HARMLESS:
        return HIDDEN
    return redact_text(value) if isinstance(value, str) else value


def secret_variables(runtime_env: Mapping[str, Any]) -> dict[str, str]:
    """Of the variables that Ray's workers are given, those that by their names hold a secret."""
    variables = runtime_env.get("env_vars")
    if not isinstance(variables, Mapping):
        return {}
    return {str(name): str(value) for name, value in variables.items() if _is_secret(str(name), value)}


class Redactor:
    """Takes a run's secrets out of texts.

    Args:
        options: the resolved `storage.options`.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        # Long ones first: one may be a part of another.
        self._secrets = sorted(set(_secrets(options)), key=len, reverse=True)

    def text(self, text: str) -> str:
        """The text without values of options and variables that are secret, and without secrets in URLs."""
        return self._text(text, re.MULTILINE)

    def _text(self, text: str, ends: re.RegexFlag) -> str:
        # Values first: a part of one is not found any more.
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        for setting in (_OPTION, _SECRET_SETTING):
            text = re.sub(setting, _hide_option, text, flags=re.IGNORECASE | ends)
        return redact_text(text)

    def words(self, words: Iterable[str]) -> list[str]:
        """A command line, word by word."""
        return [self._word(word) for word in words]

    def _word(self, word: str) -> str:
        """A text that may be a URL as a whole, or `key=URL`; data URIs may hold spaces and quotes."""
        found = _DATA_SETTING.search(word)
        if found is None:
            # A value goes on behind the line breaks in it.
            return self._text(redact_value(word), re.DOTALL)
        quote = found[1] if found[1] and word.endswith(found[1]) else ""
        content = word[found.end() : len(word) - len(quote)]
        if quote == '"':
            # As Hydra reads it: then it has the digest that it has elsewhere.
            content = re.sub(r'(\\+)("|$)', lambda escaped: "\\" * (len(escaped[1]) // 2) + escaped[2], content)
        return f"{self.text(word[: found.end()])}{redact(content)}{quote}"

    def value(self, value: Any) -> Any:
        """Every text in plain data; the options of storage and variables by their names."""
        if isinstance(value, str):
            return self._word(value)
        if isinstance(value, Mapping):
            return {
                self._word(key) if isinstance(key, str) else key: self._named(key, item) for key, item in value.items()
            }
        if isinstance(value, list):
            return [self.value(item) for item in value]
        return value

    def _named(self, key: Any, value: Any) -> Any:
        if isinstance(value, Mapping) and key == "options":
            return shown_options(value)
        if isinstance(value, Mapping) and key in _VARIABLE_KEYS:
            value = {name: HIDDEN if _is_secret(str(name), item) else item for name, item in value.items()}
        return self.value(value)


def _is_secret(variable: str, value: Any) -> bool:
    if value is None or isinstance(value, bool) or _VARIABLE.fullmatch(str(value)):
        return False
    return bool(_SECRET_VARIABLE.search(variable))


def _hide_option(match: re.Match[str]) -> str:
    key, value = match.groups()
    if key.rpartition(".")[2] in _HARMLESS or _VARIABLE.fullmatch(value.strip("'\"")):
        return match.group(0)
    # A quote around the whole word stays closed.
    quote = value[-1:] if value[-1:] in ("'", '"') and len(re.findall(rf"(?<!\\){value[-1]}", value)) % 2 else ""
    return f"{key}={HIDDEN}{quote}"


def _secrets(options: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from _secrets(value)
        elif isinstance(value, str) and len(value) >= _SHORTEST_SECRET and name not in _HARMLESS and value != _WORD:
            yield value
