"""Settings for every test: one thread, quiet kernels."""

import torch
import warp

torch.set_num_threads(1)
warp.config.quiet = True
