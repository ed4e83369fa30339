"""What a loader's worker must not do: stop, or hold what is the main one's."""

import os
import signal
import threading

from folder_use import give_up_inherited


def leave_to_main(worker: int) -> None:
    """Have a loader's worker do nothing but load.

    Ctrl-C, and some launchers, reach every process of a group, and the main
    one saves before it ends its workers. A lock is the main one's too: a
    worker lives on for seconds where that is killed. SIGTERM from the main
    process is obeyed: by it Python ends the workers that are left at its own
    exit, and then waits for them without end.

    Arguments
    ---------
    worker : int
        Its number, which torch gives.
    """
    del worker
    for each in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(each, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # macOS has none; torch's handler stays
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        threading.Thread(target=_end_with_main, daemon=True).start()
    give_up_inherited()


def _end_with_main() -> None:
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != os.getppid():
        pass
    os._exit(0)
