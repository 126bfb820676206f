"""What the commands share: scenarios and policies from arguments, errors, progress."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import os
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

import gymnasium as gym

from qnum_gym.config import PolicyError
from qnum_gym.files import FolderInUseError
from qnum_gym.optimum import InfeasibleError, ScoreWarning
from qnum_gym.registry import suggest
from qnum_gym.scenarios import Scenario, ScenarioError
from qnum_gym.scenarios.network_files import NetworkFileWarning
from qnum_gym.scenarios.parts import is_place
from qnum_gym.scenarios.yaml_io import parse

if TYPE_CHECKING:
    from qnum_gym.agents import Policy
    from qnum_gym.evaluation.policies import PolicySpec

NAMESPACE = "qnum_gym/"
SAID = (ScoreWarning, NetworkFileWarning)  # in one line each
INTERRUPTED = 130  # exit code, as a shell gives for Ctrl-C
PICTURES = (".png", ".pdf", ".svg")
POLICY = "a policy's name (qnum-gym list), file.py:Class, module:Class, or the path of a model or of constants (YAML)"


class UsageError(ValueError):
    """Arguments that cannot be. The message names option, value, and what would be valid."""


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with the arguments."""

    def __init__(self, *args: Any, **options: Any) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, **options)

    def error(self, message: str) -> NoReturn:
        """End with exit code 2."""
        self.exit(2, f"{self.prog}: {message} (see --help)\n")


@contextlib.contextmanager
def _warnings_in_one_line(command: str) -> Generator[None]:
    """Who counts in no score, and what is left of a network file, is said once, in one line of standard error."""
    told: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *where: Any, **options: Any) -> None:
        if not issubclass(category, SAID):
            shown_before(message, category, *where, **options)
        elif str(message) not in told:
            told.add(str(message))
            print(f"{command}: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        shown_before = warnings.showwarning
        for category in SAID:
            warnings.simplefilter("always", category)
        warnings.showwarning = show
        yield


def run(
    command: Callable[[argparse.Namespace], int], parser: argparse.ArgumentParser, argv: Sequence[str] | None
) -> int:
    """Parse the arguments and run the command; what cannot be is said on standard error, with exit code 2.

    Characters that the terminal cannot show are replaced. SIGTERM ends the command as Ctrl-C does.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        with _terminable(), _warnings_in_one_line(parser.prog):
            code = command(parser.parse_args(argv))
            sys.stdout.flush()
            return code
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        with contextlib.suppress(OSError, ValueError):  # what is still to be written goes nowhere
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for stream in (sys.stdout, sys.stderr):
                os.dup2(nowhere, stream.fileno())
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except MemoryError:
        parser.exit(2, f"{parser.prog}: there is not enough memory for what was asked; valid: less of it\n")
    except (UsageError, ScenarioError, FolderInUseError, InfeasibleError, PolicyError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    except OSError as error:  # a file or folder that went away, a full disk
        where = f"{error.filename}: " if error.filename else ""
        parser.exit(2, f"{parser.prog}: {where}{error.strerror or error}\n")


@contextlib.contextmanager
def _terminable() -> Generator[None, None, None]:
    """SIGTERM raises KeyboardInterrupt while entered, so that whoever holds processes or files can end them."""
    if threading.current_thread() is not threading.main_thread():  # only that one hears of signals
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def folder_for(option: str, folder: Path) -> Path:
    """Make the folder of the results if it is not there, and see that files can be written in it.

    Raises:
        UsageError: they can't.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except FileExistsError:
        reason = "there is a file of that name"
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
    raise UsageError(f"{option} {str(folder)!r}: {reason}; valid: a folder, new or not, where files can be written")


def file_for(option: str, path: Path) -> Path:
    """See that a file of that path can be written, its folder included.

    Raises:
        UsageError: it can't.
    """
    if path.is_dir():
        raise UsageError(f"{option} {str(path)!r}: there is a folder of that name; valid: a file, new or not")
    folder_for(option, path.parent)
    return path


def named_for(option: str, path: Path, endings: Sequence[str]) -> Path:
    """`file_for`, and UsageError for a file name that ends in none of the `endings`."""
    if path.suffix not in endings:
        raise UsageError(f"{option} {str(path)!r}: valid: a file name that ends in {', '.join(endings)}")
    return file_for(option, path)


def needs(extra: str, *modules: str) -> None:
    """See that an extra's modules are installed.

    Raises:
        UsageError: naming those that are not, and the command that installs them.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"{', '.join(missing)} not installed; this command needs: pip install -e '.[{extra}]' in the clone's folder"
        )


# --- scenarios --------------------------------------------------------------------------------------------------------


def ids() -> tuple[str, ...]:
    """The registered environment ids."""
    return tuple(sorted(id for id in gym.registry if id.startswith(NAMESPACE)))


def add_set_option(
    parser: argparse.ArgumentParser,
    what: str = "override a field of the scenario, e.g. coherence_time=1e6, rate_range=[0.1,100], links[2].length_km=9",
) -> None:
    """`--set KEY=VALUE`, as often as wanted."""
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=f"{what}; as often as wanted")


def overrides(
    settings: Sequence[str], *, parts: bool = False, example: str = "coherence_time=1e6", option: str = "--set"
) -> dict[str, Any]:
    """KEY=VALUE texts as keywords, the values read as YAML; with `parts` a key may be PART.KEY, else `links[2].KEY`.

    Raises:
        UsageError: a text without a key or "=", a key given twice, or a value that is not YAML.
    """
    found: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        names = key.split(".") if parts else [key]
        if not equals or not (all(name.isidentifier() for name in names) or (not parts and is_place(key))):
            raise UsageError(f"{option} {setting!r}: valid: KEY=VALUE, e.g. {example}")
        if key in found:
            raise UsageError(f"{option} {setting!r}: {key} is set already, to {found[key]!r}")
        try:
            found[key] = parse(value, f"{option} {setting!r}")
        except ValueError as error:
            raise UsageError(str(error)) from None
    return found


def scenario_of_id(id: str, settings: Sequence[str] = ()) -> tuple[str, Scenario]:
    """The full id and the scenario of a registered environment; "Dumbbell-v0" will do.

    Raises:
        UsageError: an unknown id, or overrides that its scenario refuses.
    """
    full = id if id.startswith(NAMESPACE) else NAMESPACE + id
    valid = ids()
    if full not in valid:
        raise UsageError(f"--env {id!r}: {suggest(full, valid)}valid: {', '.join(valid)}")
    try:
        env = gym.make(full, **overrides(settings)).unwrapped
    except UsageError:
        raise
    except (ValueError, TypeError) as error:
        raise UsageError(f"--env {full}{_given(settings)}: {error}") from None
    if cast(Any, env).stream is not None:
        raise UsageError(
            f"--env {full}: another network for each episode; valid: an id of one, or --suite for families"
        )
    return full, cast(Any, env).scenario


def scenario_of_name(name: str, settings: Sequence[str] = (), *, option: str = "--scenario") -> Scenario:
    """The scenario of a name, an environment id, or a YAML file's path.

    Raises:
        UsageError: there is none, or it refuses the overrides.
    """
    from qnum_gym.scenarios.sources import resolve

    full = name if name.startswith(NAMESPACE) else NAMESPACE + name
    if full in ids():
        return scenario_of_id(full, settings)[1]
    try:
        return resolve(name, overrides(settings), ())
    except UsageError:
        raise
    except ValueError as error:
        raise UsageError(f"{option} {name!r}{_given(settings)}: {error}") from None


def _given(settings: Sequence[str]) -> str:
    return "".join(f" --set {setting}" for setting in settings)


# --- policies ---------------------------------------------------------------------------------------------------------


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """What is to be known of a `model.zip` that its file does not say."""
    group = parser.add_argument_group(
        "models (*.zip)",
        "Models trained over this package's environments carry what their actions mean; of others, say it. Weights and "
        "plain data are read without running anything in the file. Policy classes of your own and statistics of "
        "VecNormalize are pickles, which run code when they are read: --trust, for files whose maker you trust.",
    )
    group.add_argument("--trust", action="store_true", help="unpickle what the files hold")
    group.add_argument("--action", metavar="KIND", help="what an action was in training")
    group.add_argument("--signals", action="store_true", help="actions had header signals")
    group.add_argument("--rate-step", type=float, metavar="X", help="rate_step in training")
    group.add_argument("--werner-step", type=float, metavar="X", help="werner_step in training")
    group.add_argument("--vecnormalize", metavar="FILE", help="statistics of VecNormalize; none: it left them alone")


def model_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Those of `add_model_options` that were given, as `agents.make` knows them."""
    names = ("trust", "action", "signals", "rate_step", "werner_step", "vecnormalize")
    return {name: getattr(arguments, name) for name in names if getattr(arguments, name) not in (None, False)}


def specs(
    texts: Sequence[str], of_models: Mapping[str, Any] | None = None, *, several: bool = False
) -> list[PolicySpec]:
    """Policies that are there: NAME or PATH is its own label, LABEL=PATH or LABEL=NAME has another one.

    `of_models` are options of the models (*.zip) among them. With `several`, LABEL=A,B,… are trainings of one method.

    Raises:
        UsageError: an unknown name, a missing model, or a label given twice.
    """
    from qnum_gym import agents

    found: list[PolicySpec] = []
    for text in texts:
        label, equals, which = text.partition("=")
        if not equals or text in (*agents.names(), *agents.zoo()) or exists(text.rpartition(":")[0] or text):
            label = which = text
        check_label(text, label, which)
        members = which.split(",") if several and not exists(which) else [which]
        if len(members) > 1 and label == text:
            raise UsageError(f"--policy {text!r}: several trainings need a name; valid: LABEL={text}")
        if label in {spec.label for spec in found}:
            raise UsageError(
                f"--policy {text!r}: there is a {label!r} already; valid: each label once, LABEL=NAME gives one"
            )
        found += [spec(member, label, of_models) for member in members]
    return found


def exists(text: str) -> bool:
    """Whether there is a file or folder of that path."""
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # too long, or what no path may hold
        return False


def check_label(text: str, label: str, which: str) -> None:
    """See that nobody goes by another policy's name.

    Raises:
        UsageError: the label is the name of a policy that comes with the package, and `which` is something else.
    """
    from qnum_gym import agents

    if label != which and label in (*agents.names(), *agents.zoo()):
        raise UsageError(f"--policy {text!r}: {label!r} is the name of a policy that is there; valid: another label")
    if not label:
        raise UsageError(f"--policy {text!r}: valid: NAME, PATH, LABEL=NAME or LABEL=PATH")


def spec(which: str, label: str | None = None, of_models: Mapping[str, Any] | None = None) -> PolicySpec:
    """The policy that `agents.make` knows as `which`; a saved model has the options `of_models`.

    Raises:
        UsageError: there is none.
    """
    from qnum_gym.evaluation.policies import PolicySpec

    try:
        found = PolicySpec.of(which, label, **(of_models or {} if which.endswith(".zip") else {}))
        found.make()
        return found
    except (ValueError, OSError, ImportError) as error:
        raise UsageError(f"--policy {which!r}: {error}") from None


def policy(spec: PolicySpec, scenario: Scenario) -> Policy:
    """The policy, checked to run on `scenario`.

    Raises:
        UsageError: an unfit model.
    """
    try:
        found = spec.make()
        found.reset(scenario)
    except (ValueError, OSError, ImportError) as error:
        raise UsageError(f"--policy {spec.policy!r}: {error}") from None
    return found


def add_jobs_option(parser: argparse.ArgumentParser, default: str = "as many as cores") -> None:
    """`--jobs N`."""
    parser.add_argument("--jobs", type=at_least(1), metavar="N", help=f"processes that simulate (default: {default})")


# --- in and out -------------------------------------------------------------------------------------------------------


def at_least(least: int) -> Callable[[str], int]:
    """An argument type: a whole number from `least` on."""

    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"{text!r}: valid: a whole number, at least {least}")
        return value

    return number


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(value, indent=2, allow_nan=False))
