"""What /proc says about processes, by their numbers on the machine."""
import os


def status(pid, field):
    """A line of /proc/PID/status as words; none if the process is gone."""
    try:
        with open(f"/proc/{pid}/status") as file:
            for line in file:
                if line.startswith(field + ":"):
                    return line.split()[1:]
    except OSError:
        pass
    return []


def all_pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def children(pid):
    return [child for child in all_pids() if status(child, "PPid") == [str(pid)]]


def pid_namespace(pid):
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return None


def command_line(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return [word.decode(errors="replace") for word in file.read().split(b"\0")[:-1]]
    except OSError:
        return []


def first_of_namespace(pid):
    """The process 1 of a namespace that is PID or below it."""
    if status(pid, "NSpid")[-1:] == ["1"]:
        return pid
    for child in children(pid):
        found = first_of_namespace(child)
        if found:
            return found
    return None
