"""Drives a command on a pseudo-terminal: drive.py STEP... -- COMMAND ARGS...

Steps: expect:TEXT (read until it appears), send:TEXT (\\xNN escapes), resize:ROWSxCOLUMNS,
signal:NAME (to the command), group:NAME (to the terminal's foreground group), stopped (wait until the
command is stopped), eof (read until the end). What the terminal showed goes to standard output; the
exit status is the command's, 128 + N after signal N. The terminal has 24 rows and 80 columns.
"""

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time

LIMIT = 100.0


def main():
    split = sys.argv.index("--")
    steps, command = sys.argv[1:split], sys.argv[split + 1 :]
    started = time.monotonic()
    pid, master = pty.fork()
    if pid == 0:
        # Before the command is there: a size that is set later is a signal that it may see.
        resize(0, "24x80")
        os.execvp(command[0], command)
    seen = b""
    shown = 0

    def read_more():
        nonlocal seen
        if time.monotonic() - started > LIMIT:
            sys.stderr.write("gave up at: %r\n" % seen[shown:])
            os.kill(pid, signal.SIGKILL)
            sys.exit(97)
        ready, _, _ = select.select([master], [], [], 0.2)
        if not ready:
            return True
        try:
            more = os.read(master, 65536)
        except OSError:
            return False
        seen += more
        return bool(more)

    for step in steps:
        kind, _, rest = step.partition(":")
        text = rest.encode().decode("unicode_escape").encode("latin-1")
        if kind == "expect":
            while text not in seen[shown:]:
                if not read_more():
                    sys.stderr.write("ended before %r: %r\n" % (text, seen[shown:]))
                    reap(pid)
                    sys.exit(96)
            shown = seen.index(text, shown) + len(text)
        elif kind == "send":
            os.write(master, text)
        elif kind == "resize":
            resize(master, rest)
        elif kind == "signal":
            os.kill(pid, getattr(signal, rest))
        elif kind == "group":
            os.killpg(os.tcgetpgrp(master), getattr(signal, rest))
        elif kind == "stopped":
            _, status = os.waitpid(pid, os.WUNTRACED)
            assert os.WIFSTOPPED(status), status
        elif kind == "eof":
            while read_more():
                pass
        else:
            sys.exit("unknown step " + step)
    while read_more():
        pass
    status = reap(pid)
    sys.stdout.buffer.write(seen)
    sys.stdout.flush()
    sys.exit(status)


def reap(pid):
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return 128 + os.WTERMSIG(status)
    return os.WEXITSTATUS(status)


def resize(master, size):
    rows, columns = size.split("x")
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", int(rows), int(columns), 0, 0))


main()
