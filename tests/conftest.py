"""Settings for every test: one thread of torch."""

import torch

torch.set_num_threads(1)
