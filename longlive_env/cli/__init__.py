"""The command line. A command's module, and torch with it, is only imported when that command runs."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import sysconfig
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pkgutil import resolve_name

import longlive_env
from longlive_env.cli.leaving import leave
from longlive_env.cli.parser import Parser
from longlive_env.errors import OUT_OF_MEMORY, AgentError, LongLiveError, did_you_mean, is_out_of_memory
from longlive_env.terminal import fail

INTERRUPTED = 130  # what shells report for a command that Ctrl-C ended


@dataclass(frozen=True)
class Command:
    """A subcommand: its line in the list, and the `module:function` that takes its arguments."""

    summary: str
    target: str


COMMANDS = {
    "run": Command("play a scenario and record it", "longlive_env.cli.run:main"),
    "play": Command("play a world in a window", "longlive_env.cli.play:main"),
    "scenarios": Command("list, show, check and create scenarios", "longlive_env.cli.scenarios:main"),
    "tiny": Command("draw a contact sheet of the tiny world's rendered scenes", "longlive_env.cli.tiny:main"),
    "eval": Command("measure how well a world obeys its prompts", "longlive_env.cli.eval:main"),
    "warmup": Command("compile a world now, so that its next start need not", "longlive_env.cli.warmup:main"),
    "bench": Command("measure a world's speed and memory", "longlive_env.cli.bench:main"),
    "verify": Command("compare this engine with recorded reference outputs", "longlive_env.cli.verify:main"),
    "download": Command("get the published weights of a world", "longlive_env.cli.download:main"),
    "train": Command("train one stage of a world", "longlive_env.training.command:run_stage"),
    "export": Command("make a world of trained weights", "longlive_env.training.export:main"),
    "doctor": Command("show versions, threads, backends, weights and extras", "longlive_env.cli.doctor:main"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: arguments after the program's name; None takes those of the process, which then belongs to the
            command alone and ends with it, see `leave`.

    Returns:
        Exit status: 0 done, 1 a check has failed, 2 an error in arguments or files, 130 interrupted.
    """
    return leave(_run(sys.argv[1:])) if argv is None else _run(list(argv))


def _run(argv: list[str]) -> int:
    if not argv or argv[0] not in COMMANDS:
        return _without_command(argv)
    name, rest = argv[0], argv[1:]
    if sys.stderr is None:  # a service without one
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")
    if isinstance(sys.stdout, io.TextIOWrapper):  # prompts and names may be in any script
        sys.stdout.reconfigure(errors="backslashreplace")
    prog = f"longlive {name}"
    try:
        command: Callable[[Sequence[str]], int | None] = resolve_name(COMMANDS[name].target)
        return command(rest) or 0
    except BrokenPipeError:  # the reader of a pipe has left; not our error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):  # Ctrl-C also ends what a pipe leads to
            sys.stderr.write(f"{prog}: interrupted\n")
        return INTERRUPTED
    except LongLiveError as error:
        if isinstance(error, AgentError) and error.__cause__ is not None:
            sys.stderr.write(_own_traceback(error.__cause__))
        return fail(prog, error)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return fail(prog, OUT_OF_MEMORY)
    except OSError as error:
        return fail(prog, f"{error.filename}: {error.strerror}" if error.filename else error)


def _own_traceback(error: BaseException) -> str:
    """Where a user's own code has failed, without our frames and libraries'; empty if it was not there."""
    from longlive_env import agents

    libraries = sysconfig.get_path("purelib"), sysconfig.get_path("stdlib"), "<frozen "
    others = (*longlive_env.__path__, *agents.__path__, *libraries)
    frames = [one for one in traceback.extract_tb(error.__traceback__) if not one.filename.startswith(others)]
    return f"In the agent's own code:\n{''.join(traceback.format_list(frames))}" if frames else ""


def _without_command(argv: list[str]) -> int:
    """Show help, the version, or an error about an unknown command."""
    if argv and not argv[0].startswith("-"):
        return _no_command(argv[0])
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items())
    parser = Parser(
        "longlive",
        f"Playable video worlds: a text prompt is an action.\n\ncommands:\n{listed}",
        ("longlive run demo --out out/demo", "longlive run --help"),
    )
    parser.usage = "longlive [--version] COMMAND ..."
    parser.add_argument("--version", action="version", version=f"longlive_env {longlive_env.__version__}")
    _, rest = parser.parse_known_args(argv)
    if rest:
        return _no_command(rest[0])
    parser.print_help()
    return 0


def _no_command(name: str) -> int:
    advice = did_you_mean(name, COMMANDS, f"commands: {', '.join(COMMANDS)}")
    return fail("longlive", f"there is no command {name!r}; {advice}")
