"""How messages name the settings of an ingest: by the option of the command, by the key of a configuration, or in Python."""

from __future__ import annotations

import re
import shlex

#: An option of the command, with the value that stands behind it in a message.
_OPTION = re.compile(r"--([a-z]+(?:-[a-z]+)*)(?: ('[^']*'|\"[^\"]*\"|[^\s`'();]*[^\s`'();:.,]))?")
_KEY = re.compile(r"(?: \(|; )in a configuration: pool\.ingest\.\w+(\)?)")
_FLAGS = frozenset({"assistant_opens", "append", "overwrite"})
#: Settings of ``IngestConfig`` that take a value; the others are arguments of ``ingest`` itself.
_VALUED = frozenset(
    {"delimiter", "encoding", "format", "from", "map", "on_bad_row", "parse", "quotes", "special_tokens", "split"}
)


def setting(name: str, value: str | None = None) -> str:
    """``--encoding cp1252 (in a configuration: pool.ingest.encoding)``: who reads it may have given either."""
    given = "" if value is None else f" {value}"
    return f"--{name.replace('_', '-')}{given} (in a configuration: pool.ingest.{name})"


def in_python(message: str) -> str:
    """A message for whoever called ``ingest``: ``IngestConfig(map={'prompt': 'q'})`` in place of ``--map prompt=q``."""
    shown = _OPTION.sub(_as_argument, message).replace("` IngestConfig", "`IngestConfig")
    return _KEY.sub(lambda found: found[1] if found[0].startswith(";") else "", shown)


def _as_argument(found: re.Match[str]) -> str:
    name, value = found[1].replace("-", "_"), found[2]
    behind = "" if value is None else f" {value}"
    if name in _FLAGS:
        flag = f"{name}=True"
        return (flag if name in ("append", "overwrite") else f"IngestConfig({flag})") + behind
    if name not in _VALUED:
        return name + behind if name == "out" else found[0]
    if value is None:
        return f"IngestConfig({name}=…)" if name != "from" else "IngestConfig(**{'from': …})"
    return f"IngestConfig({_keyword(name, ''.join(shlex.split(value)))})"


def _keyword(name: str, value: str) -> str:
    if name == "map":
        columns = dict(part.partition("=")[::2] for part in re.split(r",(?=\w+=)", value))
        return f"map={columns!r}"
    if name == "parse":
        return f"parse=({value!r},)"
    return f"**{{'from': {value!r}}}" if name == "from" else f"{name}={value!r}"
