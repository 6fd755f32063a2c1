"""How a command ends: errors as one line on stderr without credentials, with the exit code that they stand for."""

import io
import os
import sys
import threading
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from edge.errors import OF_THE_DISK, KestrelError, OutputClosedError, UnusableInputError
from edge.secrets import redact_text
from edge.stdio import let_go, stand_in

if TYPE_CHECKING:
    import typer

_INTERRUPTED = 130  # as shells have it

# An import of cv2 needs these on a bare Debian or Ubuntu image.
_SYSTEM_LIBRARIES = ("libGL.so", "libgthread", "libglib", "libSM.so", "libXext.so", "libXrender.so", "libxcb")


def run(program: str, command: Callable[[], int | None], extra: str | None = None) -> int:
    """Run `command` and turn what it raises into one line and an exit code.

    `extra` names the extra of kestrel-drone whose packages the command needs; a missing one is then named as the cure.
    0 done, 1 failed on the way, 2 unusable input or installation, 130 interrupted.
    """
    stand_in()
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may be no text
    try:
        return command() or _flushed()
    except OutputClosedError as error:
        return error.exit_code
    except KestrelError as error:
        return _end(program, str(error), error.exit_code)
    except OSError as error:
        if error.errno in OF_THE_DISK:
            let_go(sys.stdout)
            place = error.filename or "an output"
            return _end(program, f"{place} failed: {error.strerror}; make room, or mend the disk", 1)
        if error.filename is None or error.errno is None:
            raise
        # A path that may not be looked at, or is too long, wherever it was named.
        reason = os.strerror(error.errno)
        return _end(program, f"path must be one that can be used, got {str(error.filename)!r}; {reason}", 2)
    except ImportError as error:
        advice = _cure(error, extra)
        if advice is None:
            raise
        return _end(program, advice, 2)
    except KeyboardInterrupt:
        return _end(program, "interrupted", _INTERRUPTED)


def _flushed() -> int:
    """Write what Python still holds for standard output: at exit it could only fail without words of ours."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        let_go(sys.stdout)
        return OutputClosedError.exit_code
    return 0


def run_app(program: str, app: "typer.Typer") -> int:
    """Run a typer app so that a wrong option ends as one line, too; for use within `run`.

    Raises:
        UnusableInputError: the command line is not as --help says.
        KeyboardInterrupt: as the app was told.
    """
    try:
        result = app(prog_name=program, standalone_mode=False)
    except Exception as error:
        # Typer of late brings its own copy of click: its errors are known by what they offer, not by their class.
        if not (hasattr(error, "format_message") and hasattr(error, "exit_code")):
            raise
        message = str(error.format_message()).strip()
        if "\n" in message:  # no command at all: the message is the help
            print(message, file=sys.stderr)
            return int(error.exit_code)
        command = getattr(getattr(error, "ctx", None), "command_path", program)  # with the sub-command
        raise UnusableInputError(f"{message.rstrip('.')}; see `{command} --help`") from None
    if result == _INTERRUPTED:  # typer swallows Ctrl-C
        raise KeyboardInterrupt
    return result if isinstance(result, int) else 0


def _cure(error: ImportError, extra: str | None) -> str | None:
    """What to install; None where the error is a fault of ours and deserves its traceback."""
    if any(library in str(error) for library in _SYSTEM_LIBRARIES):
        return (
            f"OpenCV lacks a system library ({str(error).split(':')[0]}); run `apt-get install libgl1 libglib2.0-0`, "
            "or replace opencv-python by the opencv-python-headless wheel"
        )
    if extra is not None and isinstance(error, ModuleNotFoundError):
        return f"this command needs {error.name}; run `pip install 'kestrel-drone[{extra}]'`"
    return None


def hide_credentials_in_tracebacks() -> None:
    """Print what nobody foresaw, here and in threads, as Python does, but for user names and passwords in URLs.

    Where somebody else, a debugger or a test runner, looks after uncaught exceptions, they stay theirs.
    """
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _show_redacted
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _show_of_thread


def _show_redacted(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    sys.stderr.write(redact_text("".join(traceback.format_exception(kind, error, trace))))


def _show_of_thread(failed: threading.ExceptHookArgs) -> None:
    if not issubclass(failed.exc_type, SystemExit):
        _show_redacted(failed.exc_type, failed.exc_value, failed.exc_traceback)


def _end(program: str, text: str, exit_code: int) -> int:
    print(f"{program}: {redact_text(text)}", file=sys.stderr)
    return exit_code
