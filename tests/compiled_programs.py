"""One folder of compiled programs for every process of the tests, kept between runs.

It is $XDG_CACHE_HOME/gnl_jax/tests-VERSION OF JAX-PROCESSOR (~/.cache by default), or a folder of this run alone where
that cannot be written. GNL_JAX_TESTS_PROGRAMS names another one.

JAX writes a program into its file in place, so that another process may read half of it, and a killed one leaves half
of it for good. Here a file gets its name when all of it is there.
"""

import atexit
import os
import platform
import shutil
import tempfile
import time
import zlib
from pathlib import Path

VARIABLE = "GNL_JAX_TESTS_PROGRAMS"
PLUGIN = Path(__file__).parent / "plugin"  # JAX starts what it finds in its folder jax_plugins
FORGOTTEN = 30 * 24 * 3600  # seconds after which a program that nobody used is removed
# Whatever takes longer to compile is kept, which is nearly everything: reading it takes some 5 ms, and every file of
# tests begins without the programs that the one before it had in memory.
MIN_SECONDS = 0.02


def put(folder: Path, key: str, program: bytes) -> None:
    """Writes a program, whole or not at all, unless it is there."""
    path = folder / f"{key}-cache"
    if path.exists():
        return
    handle, part = tempfile.mkstemp(prefix=".part-", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(program)
        os.replace(part, path)
    except BaseException:
        os.unlink(part)
        raise


def get(folder: Path, key: str) -> bytes | None:
    """A program, or None; its date becomes that of its last use."""
    path = folder / f"{key}-cache"
    try:
        program = path.read_bytes()
        os.utime(path)
    except FileNotFoundError:
        return None
    return program


def processor() -> str:
    """Names what a program was compiled for: one for a processor with AVX-512 ends a process on another."""
    try:
        flags = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags"))
    except (OSError, StopIteration):
        flags = platform.processor()
    return f"{platform.machine()}-{zlib.crc32(flags.encode()):08x}"


def users_folder() -> Path:
    """The folder in the user's cache; OSError where it cannot be written."""
    import jax

    cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    if not cache.is_absolute():  # no home folder is known
        raise OSError(f"{cache} is no absolute path")
    folder = cache / "gnl_jax" / f"tests-{jax.__version__}-{processor()}"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        return folder


def choose() -> Path:
    """The folder for this process and, through the environment, for those it starts."""
    if VARIABLE not in os.environ:
        try:
            folder = users_folder()
            forget(folder)
        except OSError:
            folder = Path(tempfile.mkdtemp(prefix="gnl_jax_tests_"))
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ[VARIABLE] = str(folder)
    return Path(os.environ[VARIABLE])


def forget(folder: Path) -> None:
    """Removes what was not used for a month, and what killed processes left of a file."""
    for path in folder.iterdir():
        try:
            age = time.time() - path.stat().st_mtime
            if age > FORGOTTEN or (path.name.startswith(".part-") and age > 3600):
                path.unlink()
        except FileNotFoundError:  # another run did it
            pass


def use() -> None:
    """Lets JAX keep this process's programs in the folder."""
    import jax
    from jax._src.lru_cache import LRUCache

    LRUCache.put = lambda cache, key, value: put(Path(str(cache._path)), key, value)
    LRUCache.get = lambda cache, key: get(Path(str(cache._path)), key)
    jax.config.update("jax_compilation_cache_dir", str(choose()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", MIN_SECONDS)


def environment() -> dict[str, str]:
    """Variables that let a process use the folder: its JAX finds the plugin, which calls `use`.

    JAX's own variable stays empty: a process that finds no plugin keeps nothing, rather than writing in place.
    """
    choose()
    path = os.pathsep.join([str(PLUGIN), str(PLUGIN.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {VARIABLE: os.environ[VARIABLE], "PYTHONPATH": path, "JAX_COMPILATION_CACHE_DIR": ""}
