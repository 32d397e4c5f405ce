"""How a program begins and ends: a log to read, compiled programs kept, what was expected to fail as one line."""

import atexit
import contextlib
import hashlib
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import absl.logging
from absl import flags

from gnl_jax.machine import processor, usable_cores
from gnl_jax.text import printable

Result = TypeVar("Result")
OURS = str(Path(__file__).parent) + os.sep
# One heap for all threads, large pages; for training on small images also no allocation in a mapping of its own and no
# memory returned to the system. A bank's fit gains nothing by that and takes half as much again. Training at 256x256
# gains a tenth and takes up to twice as much (docs/performance.md).
ONE_HEAP = "glibc.malloc.arena_max=1:glibc.malloc.hugetlb=1"
KEPT_MEMORY = f"glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold={1 << 40}:{ONE_HEAP}"


def run(main: Callable[[], Result], *, status: Callable[[Exception], int] = lambda error: 1) -> Result:
    """Calls `main` and returns what it returns, unless it ends the program.

    ValueError or OSError: its message on stderr and `status(error)`; Ctrl-C: 130; a closed pipe: 141, silently.
    Log lines are shown as `show_log` says, compiled programs kept as `keep_compiled_programs` says, and made as
    `use_library_products` says.
    """
    show_log()
    keep_compiled_programs()
    use_library_products()
    try:
        result = main()
        sys.stdout.flush()
        return result
    except BrokenPipeError:
        # Python would complain again when it closes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (ValueError, OSError) as error:
        print("error: " + printable(str(error), keep="\n"), file=sys.stderr)
        sys.exit(status(error))
    except KeyboardInterrupt:
        print("interrupted; what was saved stands", file=sys.stderr)
        end_at_exit(130)
        sys.exit(130)


def end_at_exit(status: int) -> None:
    """Ends this process with a status as soon as its threads have ended, instead of taking it apart.

    What was interrupted may still compile, or wait for a line of stdin, in a thread that nobody can stop; Python and
    XLA crash when they take apart what it uses. Threads that are to be waited for are, as always.
    """

    def end() -> None:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
                stream.flush()
        os._exit(status)

    atexit.register(end)


def parse_flags(argv: Sequence[str], *, define: Callable[[], object] = lambda: None) -> list[str]:
    """For `app.run(main, flags_parser=parse_flags)`: flags that cannot be used are one line on stderr, status 1.

    `define` is for a configuration that is no file: ml_collections reads its flags where they are defined.
    """
    try:
        define()
        return flags.FLAGS(list(argv))
    except flags.Error as error:
        # Around an error in a configuration file, ml_collections puts the traceback.
        lines = str(error).strip().splitlines()
        sys.exit("error: " + " ".join(dict.fromkeys((lines[0], lines[-1].strip()))))
    except (AttributeError, KeyError) as error:
        # So ml_collections reports a field that does not exist; one is wrapped in the other.
        reason = error
        while isinstance(reason, Exception):
            reason = reason.args[0]
        sys.exit(f"error: --config has no field {reason}".replace("\n", "; "))


def keep_memory(settings: str = KEPT_MEMORY) -> None:
    """Lets the C library keep the memory this program returns to it, in pages of 2 MiB; starts the program anew.

    XLA takes several GB for each training step on a CPU and returns them; by default they go back to the system, which
    then clears a million pages of 4 KiB for the next step: a third of the time at 256x256. glibc reads the setting
    when a program starts, so this is for a program's first line: the same process runs the same command again. With
    another C library, or where a setting was made (GLIBC_TUNABLES in the environment), nothing is done.

    Args:
        settings: `KEPT_MEMORY`, or `ONE_HEAP` for what trains nothing.
    """
    if "GLIBC_TUNABLES" in os.environ or not sys.executable or not _is_glibc():
        return
    os.environ["GLIBC_TUNABLES"] = settings
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _is_glibc() -> bool:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, ValueError):  # another system, or another C library
        return False


def show_log() -> None:
    """Shows log lines as plain text on stderr: this package's, and from any other its warnings and errors.

    At absl's level INFO, unless the flag --verbosity was given.
    """
    handler = _Lines()
    handler.addFilter(is_shown)
    logging.basicConfig(handlers=[handler], force=True)  # absl's own handler, too, makes room
    if not flags.FLAGS["verbosity"].present:
        absl.logging.set_verbosity(absl.logging.INFO)


def is_shown(record: logging.LogRecord) -> bool:
    """Whether `show_log` lets a line through: Orbax alone writes some fifty at level INFO for each checkpoint."""
    if record.exc_info and isinstance(record.exc_info[1], KeyboardInterrupt):
        return False  # whoever was waiting reports a failure; `run` says what it was
    return record.levelno >= logging.WARNING or record.pathname.startswith(OURS)


class _Lines(logging.Handler):
    """Writes to what stderr is at the time, for a progress bar may stand in for it; without tracebacks."""

    def emit(self, record: logging.LogRecord) -> None:
        level = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        print(level + printable(record.getMessage(), keep="\n"), file=sys.stderr)


def use_library_products() -> None:
    """Lets a GPU's library compute matrix products, before JAX looks for a GPU; XLA_FLAGS can say otherwise.

    By default XLA compiles and times kernels of its own for them. At full precision that takes minutes (a step of
    wide_resnet50_2 in float32, compiled on an H200: more than 3, instead of half a one). Elsewhere it changes nothing.
    """
    setting, asked = "xla_gpu_enable_triton_gemm", os.environ.get("XLA_FLAGS", "")
    if setting not in asked:
        os.environ["XLA_FLAGS"] = f"{asked} --{setting}=false".strip()


def keep_compiled_programs() -> None:
    """Lets JAX keep compiled programs for the next run, below $XDG_CACHE_HOME/gnl_jax/xla (~/.cache by default).

    A processor and a number of cores have a folder of their own, as JAX tells neither apart: a program compiled for one
    core takes 10 to 25 % longer on two, and one for another processor may end the process.

    The environment variable JAX_COMPILATION_CACHE_DIR overrules it; empty, nothing is kept. A folder that cannot be
    written is no error: compiling then takes as long as the first time.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ and (folder := programs_folder()):
        import jax

        jax.config.update("jax_compilation_cache_dir", str(folder))


def programs_folder() -> Path | None:
    """Where compiled programs are kept, as `keep_compiled_programs` says; None where they are not."""
    if (asked := os.environ.get("JAX_COMPILATION_CACHE_DIR")) is not None:
        return Path(asked) if asked else None
    machine = hashlib.sha256(f"{usable_cores()} {processor()}".encode()).hexdigest()[:16]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "gnl_jax" / "xla" / machine
    try:
        if not folder.is_absolute():  # no home folder is known
            raise OSError(f"{folder} is no absolute path")
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise OSError(f"{folder} cannot be written")
    except OSError as error:
        absl.logging.log_first_n(absl.logging.INFO, "compiled programs are not kept: %s", 1, error)
        return None
    return folder
