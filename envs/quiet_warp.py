"""Initialises Warp without its greeting; import this before mujoco_warp.

On a machine without an NVIDIA driver Warp says so on stderr, from C, whatever its settings: an
alarming line to who meant to use the CPU. Errors still raise.
"""

import os

import warp as wp

wp.config.quiet = True
wp.config.log_level = 40  # errors only: not each kernel's loading

_stderr = os.dup(2)
_nowhere = os.open(os.devnull, os.O_WRONLY)
os.dup2(_nowhere, 2)
try:
    wp.init()
finally:
    os.dup2(_stderr, 2)
    os.close(_stderr)
    os.close(_nowhere)
