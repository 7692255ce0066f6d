"""What a contender's process tells about itself. Only the standard library: peers have a virtual environment of their own."""

import json
import resource
import time
from pathlib import Path


class Stopwatch:
    """Takes the time and the processor time of a block, and what memory the process has held at its end."""

    def __enter__(self) -> "Stopwatch":
        self.cpu, self.seconds = processor_seconds(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds, self.cpu = time.perf_counter() - self.seconds, processor_seconds() - self.cpu
        self.peak_bytes = peak_bytes()

    def tell(self, sent: int, before: int = 0) -> None:
        """Print the figures as a line of JSON, with how many mails the contender believes sent, `before` of them before the block."""
        figures = {"seconds": self.seconds, "cpu": self.cpu, "peak_bytes": self.peak_bytes, "sent": sent, "before": before}
        print(json.dumps(figures), flush=True)


def processor_seconds() -> float:
    """The processor time of this process and of its children that have ended, in user mode and in the kernel."""
    parts = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(part.ru_utime + part.ru_stime for part in parts)


def peak_bytes() -> int:
    """The most memory this program has held. Not `ru_maxrss`, which a new program inherits from the process that started it."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
