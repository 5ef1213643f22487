"""What a container executes, in the user's words: its image, the program in its command and args, and its flags.

Words are read and never changed, joined or split: nothing here knows a shell's rules, and none are needed.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from fusioninfer.api.service import Manifest

SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh", "ksh", "fish"})


def words(container: Manifest) -> tuple[str, ...]:
    """Command and args as they stand: the whole argv, unless the image's entry point comes before it."""
    return (*(container.get("command") or ()), *(container.get("args") or ()))


# --- the image ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Image:
    """An image's reference, such as nvcr.io/nvidia/tensorrt-llm/release:1.2.0, taken apart."""

    path: tuple[str, ...]
    """Its repository, from the registry to the last word."""
    tag: str
    """Empty if there is none."""

    @property
    def name(self) -> str:
        """The last word of its repository."""
        return self.path[-1]


def image(container: Manifest) -> Image:
    """The container's image; a digest says nothing that we could read."""
    repository, _, last = str(container.get("image", "")).partition("@")[0].rpartition("/")
    name, _, tag = last.partition(":")
    return Image((*(repository.split("/") if repository else ()), name), tag)


# --- the program --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Program:
    """The user's words, and where among them an engine's own begin."""

    words: tuple[str, ...]
    split: int
    """How many of the words are the command's; the rest are args."""
    start: int | None
    """The first word after the program's name, be it `vllm serve` or the image's entry point; None: nobody knows."""
    is_named: bool
    """Whether the words name the program themselves; else it is the image's entry point, if anything."""
    is_in_shell: bool
    """Whether a shell reads a script out of one of the words, so that words appended reach the shell at most."""


def program(container: Manifest, after_name: Callable[[Sequence[str]], int | None]) -> Program:
    """The engine's program in `container`; `after_name` says where the words go on after its name, None: not there.

    Without a command the image's entry point gets the args, and is taken to be the engine's server. Without args
    as well, the image's own default args apply: only while we append nothing.
    """
    every, split = words(container), len(container.get("command") or ())
    start = after_name(every)
    is_named = start is not None
    shell = in_shell(every[:start])
    if start is None and every and not split:
        start = 0
    return Program(every, split, None if shell else start, is_named, shell)


def is_left_to_image(container: Manifest) -> bool:
    """Whether the image's entry point runs: there is no command, and args do not begin with another interpreter.

    Some images' entry points execute their args; then `bash ...` or `python3 ...` says nothing of the image's server.
    """
    argv = words(container)
    interpreters = re.compile(rf"{'|'.join(sorted(SHELLS))}|python[0-9.]*")
    return not container.get("command") and not (argv and interpreters.fullmatch(posixpath.basename(argv[0])))


def in_shell(argv: Sequence[str]) -> bool:
    """Whether `argv` has a shell run a script that stands in the argv itself: `sh -c`, `bash -euo pipefail -c`."""
    return any(posixpath.basename(word) in SHELLS and _runs_script(argv[at + 1 :]) for at, word in enumerate(argv))


def _runs_script(options: Sequence[str]) -> bool:
    """Whether -c is among a shell's options, which end with the first word that is none; -o is followed by a name."""
    names_follow = 0
    for word in options:
        if names_follow:
            names_follow -= 1
        elif not re.fullmatch(r"[-+].+", word):
            return False
        elif re.fullmatch(r"-[A-Za-z]*c[A-Za-z]*", word):
            return True
        elif not word.startswith("--"):
            names_follow = word.count("o")
    return False


# --- flags --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Option:
    """A flag that a program knows."""

    name: str
    """Its long spelling, with dashes."""
    others: tuple[str, ...] = ()
    takes_value: bool = True
    """False: a switch, which argparse also knows as --no-<name>."""


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag as it stands in an argv, from word `start` to before word `stop`."""

    name: str
    start: int
    stop: int
    value: str | None = None
    """What follows it or its `=`; None: a switch, or nothing follows."""
    is_off: bool = False
    """A switch that is spelled --no-<name>."""


@dataclass(frozen=True, slots=True)
class Flags:
    """The flags that were found, in the user's order; as in argparse, the last of a name counts."""

    found: tuple[Flag, ...]

    def last(self, name: str) -> Flag | None:
        return next((flag for flag in reversed(self.found) if flag.name == name), None)

    def has(self, name: str) -> bool:
        return self.last(name) is not None

    def is_on(self, name: str) -> bool:
        """Whether the switch `name` is there, and not taken back."""
        flag = self.last(name)
        return flag is not None and not flag.is_off

    def value(self, name: str) -> str | None:
        flag = self.last(name)
        return None if flag is None else flag.value

    def number(self, name: str, absent: int | None) -> int | None:
        """Its value if that is a plain number, `absent` without the flag; None: a value such as $(TP)."""
        if not self.has(name):
            return absent
        value = self.value(name) or ""
        return int(value) if re.fullmatch(r"[0-9]{1,9}", value) else None


def flags_of(program: Program, options: Iterable[Option]) -> Flags:
    """Those of `options` among the words that the engine reads; none if nobody knows which these are."""
    return Flags(()) if program.start is None else flags(program.words, options, program.start)


def flags(argv: Sequence[str], options: Iterable[Option], start: int = 0) -> Flags:
    """Those of `options` that stand in `argv` from word `start` on: `--flag value`, `--flag=value`, `-n 2`, `-n2`.

    Words are taken as argparse takes them: one that begins with a dash is a flag and no value, unless it is a
    negative number or has a space in it; so flags that are not among `options` need not be known. `_` and `-` are
    the same in a long name, as in vLLM's parser (vllm/utils/argparse_utils.py). Abbreviations, which argparse
    allows, are not read: only the program itself knows which are unambiguous.
    """
    known = {spelling: option for option in options for spelling in (option.name, *option.others)}
    switched_off = {f"--no-{option.name[2:]}": option for option in known.values() if not option.takes_value}
    found, at = [], start
    while at < len(argv):
        spelling, inline = _taken_apart(argv[at])
        option = known.get(spelling)
        if option is None:
            if off := switched_off.get(spelling):
                found.append(Flag(off.name, at, at + 1, is_off=True))
            at += 1
            continue
        value, stop = inline, at + 1
        if option.takes_value and inline is None and stop < len(argv) and _is_value(argv[stop]):
            value, stop = argv[stop], stop + 1
        found.append(Flag(option.name, at, stop, value))
        at = stop
    return Flags(tuple(found))


def following(argv: Sequence[str], start: int) -> tuple[str, ...]:
    """The words from `start` on, up to the next flag: all values of a flag that takes several."""
    end = next((at for at in range(start, len(argv)) if not _is_value(argv[at])), len(argv))
    return tuple(argv[start:end])


def _taken_apart(word: str) -> tuple[str, str | None]:
    """How the flag `word` is spelled, and the value that is written into the same word."""
    if short := re.fullmatch(r"(-[A-Za-z])([0-9]+)", word):
        return short[1], short[2]
    spelling, equals, value = word.partition("=")
    return spelling.replace("_", "-"), value if equals else None


def _is_value(word: str) -> bool:
    return not word.startswith("-") or word == "-" or " " in word or re.fullmatch(r"-[0-9.]+", word) is not None


# --- ports --------------------------------------------------------------------------------------------------------


def port_in(argv: Sequence[str], default: int) -> int:
    """The port of `--port`, else `default`; a value that is no port number, such as `$(PORT)`, counts as absent."""
    port = flags(argv, [Option("--port")]).number("--port", default)
    return port if port is not None and 0 < port < 65536 else default


def port_of(program: Program, container: Manifest, default: int) -> int:
    """Where an engine listens: what its words say. If nobody knows which these are, a port that is declared counts."""
    if program.start is None:
        return port_in(program.words, declared_port(container) or default)
    return port_in(program.words[program.start :], default)


def declared_port(container: Manifest) -> int | None:
    """The containerPort called http, else the first one; None if the container declares no port."""
    ports = container.get("ports") or ()
    named = next((p for p in ports if p.get("name") == "http"), ports[0] if ports else None)
    return None if named is None else int(named["containerPort"])
