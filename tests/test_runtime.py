import ctypes
import subprocess
import sys

import pytest
import torch

from cnnperception import runtime

MANY = 20_000  # pages of 4 KiB: less than those of the tensors below, of 128 MiB each

# How many pages the system has to provide for large tensors, before and inside the blocks, and how
# many it gets back at their ends. In a process of its own, where nothing else is going on.
COUNT = """
import contextlib, resource
import torch
from cnnperception import runtime

def new_pages():
    def work(times):
        for _ in range(times):
            torch.ones(2**25)
    work(20)  # until the places are found
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    work(2)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return int(open("/proc/self/statm").read().split()[1])

print(new_pages())
with runtime.kept_memory():
    print(new_pages())
    with runtime.kept_memory():
        print(new_pages())
    print(new_pages())
    most = resident()
print(most - resident())
with contextlib.suppress(KeyError), runtime.kept_memory():
    new_pages()
    most = resident()
    raise KeyError
print(most - resident())
"""


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"),
    reason="only the C library of Linux (glibc) takes such advice",
)
def test_freed_memory_is_used_again_until_the_outermost_block_ends() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", COUNT], capture_output=True, text=True, check=True, timeout=120
    )
    before, inside, nested, still_inside, back, back_after_an_error = map(int, ran.stdout.split())
    assert before > MANY
    assert max(inside, nested, still_inside) < MANY / 20
    assert min(back, back_after_an_error) > MANY


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with runtime.kept_memory():
        assert torch.ones(3).sum() == 3
