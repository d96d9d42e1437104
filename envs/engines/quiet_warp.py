"""Initialise Warp without its greeting; import this before mujoco_warp.

Without an NVIDIA driver Warp writes a warning to stderr, from C and whatever its settings, which
alarms users who mean to run on the CPU. Errors still raise.

Compiled kernels are kept in WARP_CACHE_PATH, or in the user's cache. Where neither can be written
(no home, a read-only one) they go to a temporary folder of this process. Kernels whose files were
cut short are removed, and compiled again.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import warp as wp

from envs.engines.kernel_cache import remove_damaged

wp.config.quiet = True  # pyright: ignore[reportAttributeAccessIssue]
wp.config.log_level = 40  # errors only, not the loading of each kernel


def _initialise() -> None:
    """Start Warp with a cache that can be written."""
    try:
        wp.init()
        with tempfile.TemporaryFile(dir=str(wp.config.kernel_cache_dir)):
            remove_damaged(Path(str(wp.config.kernel_cache_dir)))
            return
    except OSError:
        folder = tempfile.mkdtemp(prefix="warp-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        wp.config.kernel_cache_dir = folder
        wp.init()


_stderr = os.dup(2)
_null = os.open(os.devnull, os.O_WRONLY)
os.dup2(_null, 2)
try:
    _initialise()
finally:
    os.dup2(_stderr, 2)
    os.close(_stderr)
    os.close(_null)
