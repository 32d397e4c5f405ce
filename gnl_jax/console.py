"""How a program ends: expected failures as one line and an exit status, not a traceback."""

import os
import sys
from collections.abc import Callable


def run(main: Callable[[], None]) -> None:
    """Calls `main`. ValueError or OSError: its message on stderr, status 1; Ctrl-C: 130; a closed pipe: 141, silently."""
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:
        # Python would complain again when it closes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("interrupted; the last checkpoint stands", file=sys.stderr)
        sys.exit(130)
