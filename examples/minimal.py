"""AEF world model and actor-critic in imagination, in one file: from pixels to actions.

    python examples/minimal.py cheetah-run --frames 100000 --seed 0

The AutoEncoder within Flows (AEF), the dynamics of its latents, an actor and a critic that learn in
imagination, the loop. It runs on the CPU; `python -m agents.train` has GPUs, checkpoints and more.

A frame is one simulator step, a decision one action for two frames, an update one gradient step.
Shapes: N images or states, B sequences of T rows, (C, H, W) an image of D values, d latent,
R recurrent state, F = R + d features, A action, K imagined decisions. Densities are in nats.
"""

# ruff: noqa: D102, D103 - a comment beside each function says what goes in and what comes out
import argparse
import copy
import itertools
import math
import time
from collections import namedtuple
from dataclasses import dataclass, fields

import torch
from PIL import Image
from torch import nn
from torch.distributions import Normal
from torch.nn import functional as F

import envs

# One decision: the frame, the reward that arrives with it, whether it is the first or the terminal
# one of an episode, the action that is chosen, and the recurrent state h it is chosen with.
Rows = namedtuple("Rows", "frame reward first terminal action h")  # each (N, ...) or (B, T, ...)


@dataclass
class Config:
    """Settings of a run, each an option of the command line."""

    task: str = "cheetah-run"
    frames: int = 100_000
    seed: int = 0
    num_envs: int = 8
    prefill: int = 4_000  # frames with random actions
    pretrain: int = 150  # updates of the world model alone
    frames_per_update: int = 8
    eval_every: int = 10_000  # frames
    eval_episodes: int = 10
    batch: int = 12  # B
    length: int = 16  # T
    latent: int = 32  # d
    hidden: int = 256  # R, and the width of dense layers


def mlp(*sizes):  # (..., sizes[0]) -> (..., sizes[-1])
    layers = []
    for inputs, outputs in itertools.pairwise(sizes[:-1]):
        layers += [nn.Linear(inputs, outputs), nn.LayerNorm(outputs), nn.SiLU()]
    return nn.Sequential(*layers, nn.Linear(*sizes[-2:]))


# A reward or a return is the mean of a softmax, `logits.softmax(-1) @ BINS`, over bins that are
# equally spaced in symlog units; it learns to put its weight on the two bins around the target.
BINS = torch.linspace(-10, 10, 101).abs().expm1() * torch.arange(-50, 51).sign()


def two_hot_loss(logits, target):  # (..., bins), (...) -> cross-entropy (...)
    passed = ((target[..., None] - BINS[:-1]) / BINS.diff()).clamp(0, 1)  # 1 below the target
    weight = F.pad(passed, (1, 0), value=1.0) - F.pad(passed, (0, 1))  # (..., bins)
    return -(weight * logits.log_softmax(-1)).sum(-1)


def dct_basis(shape, count):  # -> the lowest frequencies of an image, grey ones first (count, D)
    n = [torch.arange(size) for size in shape]
    waves = [F.normalize(torch.cos(math.pi / len(x) * (x + 0.5) * x[:, None]), dim=-1) for x in n]
    order = sorted(itertools.product(*map(range, shape)), key=lambda k: (k[0], k[1] + k[2]))
    rows = [[wave[i] for wave, i in zip(waves, k)] for k in order[:count]]
    return torch.stack([torch.einsum("c,h,w->chw", *row).flatten() for row in rows])


class AEF(nn.Module):
    """An image x and its code (z, r), one to one, with an exact likelihood.

    y = 4 (u - mean),  u = (x + e) / 256     e ~ U[0, 1)
    c = B y,  s = y - B^T c                  core: d low frequencies; shell: all others
    z = mu_e(s) + sigma_e(s) c               encoder, a coupling layer on the core
    r = (s - mu_d(z)) / sigma_d              decoder, a coupling layer on the shell

    log p(u) = log p(z) + [sum log sigma_e + D log 4] + [log N(r; 0, I) - (D - d) log sigma_d]
               prior      volume                        pixels
    """

    def __init__(self, shape, c, w=64, sigma_d=0.1):
        super().__init__()
        self.sigma, relu, grid = sigma_d, nn.ReLU(), (w, shape[1] // 8, shape[2] // 8)
        self.encoder = nn.Sequential(  # s (N, C, H, W) -> mu_e and raw log sigma_e (N, 2 d)
            *(nn.Conv2d(shape[0], w, 4, 4), relu, nn.Conv2d(w, 2 * w, 2, 2), relu),
            *(nn.Conv2d(2 * w, 2 * w, 2, 2), relu, nn.Flatten()),
            mlp(math.prod(grid) // 2, c.hidden, 2 * c.latent),
        )
        self.decoder = nn.Sequential(  # z (N, d) -> mu_d (N, C, H, W)
            *(mlp(c.latent, c.hidden, math.prod(grid)), relu, nn.Unflatten(1, grid)),
            *(nn.ConvTranspose2d(w, w, 2, 2), relu, nn.ConvTranspose2d(w, shape[0], 4, 4)),
        )
        self.mean = nn.Parameter(torch.full(shape, 0.5), requires_grad=False)
        self.register_buffer("basis", dct_basis(shape, c.latent))  # B (d, D)

    def split(self, y):  # (N, C, H, W) -> core (N, d), shell (N, C, H, W)
        core = y.flatten(1) @ self.basis.T
        return core, y - (core @ self.basis).view_as(y)

    def coupling(self, shell):  # (N, C, H, W) -> mu_e, log sigma_e (N, d)
        mean, raw = self.encoder(shell).chunk(2, -1)
        return mean, 4 * torch.tanh(raw / 4)

    def encode(self, x, e=0.5):  # (N, C, H, W) -> z (N, d), shell (N, C, H, W), volume (N,)
        core, shell = self.split(4 * ((x + e) / 256 - self.mean))
        mean, log_sigma = self.coupling(shell)
        volume = log_sigma.sum(-1) + x[0].numel() * math.log(4)
        return mean + log_sigma.exp() * core, shell, volume

    def deviations(self, z, shell):  # -> r (N, C, H, W) of D - d dimensions, pixels (N,)
        r = self.split(shell - self.decoder(z))[1] / self.sigma
        each = math.log(self.sigma * math.sqrt(2 * math.pi))
        return r, -0.5 * r.square().flatten(1).sum(-1) - (r[0].numel() - z.shape[1]) * each

    def decode(self, z, r=0.0):  # the inverse of both -> u (N, C, H, W)
        shell = self.split(self.decoder(z) + self.sigma * r)[1]
        mean, log_sigma = self.coupling(shell)
        core = (z - mean) * (-log_sigma).exp()
        return (shell + (core @ self.basis).view_as(shell)) / 4 + self.mean


class Agent(nn.Module):
    """A world model of videos given their actions; an actor and a critic that learn in it.

    h_t = GRU(h_(t-1), [z_(t-1), a_(t-1)])
    log p(x_1..T | a_1..T) = sum_t [log p(z_t | h_t, z_(t-1)) + volume_t + pixels_t]
    """

    def __init__(self, shape, actions, c):
        super().__init__()
        self.c, self.aef, w, features = c, AEF(shape, c), c.hidden, c.hidden + c.latent
        self.embed = mlp(c.latent + actions, w, 3 * w)
        self.recurrent, self.norm = nn.Linear(w, 3 * w, bias=False), nn.LayerNorm(3 * w)
        sizes = 2 * c.latent, len(BINS), 1, 2 * actions, len(BINS)
        heads = [mlp(features, w, w, size) for size in sizes]
        for weight in itertools.chain(*(head[-1].parameters() for head in heads)):
            nn.init.zeros_(weight)
        self.prior_net, self.reward, self.continuation, self.actor, self.critic = heads

    def step(self, h, z, action):  # a GRU -> the next h (N, R) = (1 - u) h + u tanh(r c)
        r, c, u = self.norm(self.embed(torch.cat([z, action], -1)) + self.recurrent(h)).chunk(3, -1)
        return torch.lerp(h, torch.tanh(r.sigmoid() * c), (u - 1).sigmoid())

    def prior(self, h, z):  # -> p(z_t | h_t, z_(t-1)), over (..., d); at first nothing changes
        change, raw = self.prior_net(torch.cat([h, z], -1)).chunk(2, -1)
        return Normal(z + change, F.softplus(raw) + 0.03)

    def observe(self, rows, e=0.5):  # -> features (B, T, F), shell and volume (B T, ...)
        z, shell, volume = self.aef.encode(rows.frame.flatten(0, 1), e)
        z, keep = z.unflatten(0, rows.first.shape), ~rows.first[..., None]  # (B, T, .)
        h = [rows.h[:, 0] * keep[:, 0]]
        for t in range(1, z.shape[1]):  # an episode begins with h = 0
            h.append(self.step(h[-1], z[:, t - 1], rows.action[:, t - 1]) * keep[:, t])
        return torch.cat([torch.stack(h, 1), z], -1), shell, volume

    def model_loss(self, rows):  # Rows (B, T, ...) -> loss (), bits per dimension ()
        features, shell, volume = self.observe(rows, torch.rand(rows.frame.flatten(0, 1).shape))
        h, z = features.split([self.c.hidden, self.c.latent], -1)  # (B, T, .)
        some = torch.randperm(len(shell))[: len(shell) // 3]  # an unbiased estimate
        pixels = self.aef.deviations(z.flatten(0, 1)[some], shell[some])[1].mean()
        before = z[:, :-1] * ~rows.first[:, 1:, None]
        prior = self.prior(h[:, 1:], before).log_prob(z[:, 1:]).sum(-1).mean()
        anchor = Normal(0, 1).log_prob(z).sum(-1).mean()  # pins the scale of the latents
        video = 0.004 * pixels + volume.mean() + 0.9 * prior + 0.1 * anchor
        reward = (two_hot_loss(self.reward(features), rows.reward) * ~rows.first).mean()
        going = F.softplus(self.continuation(features)[..., 0] * (2.0 * rows.terminal - 1)).mean()
        bits = 8 - (pixels + volume.mean() + prior) / (shell[0].numel() * math.log(2))
        return reward + going - 0.01 * video, bits

    def imagine(self, start, policy, steps, noise=1.0):  # (N, F) -> (K + 1, N, F), start first
        def clip(gradient):  # (N, F), so that a few chaotic rollouts do not dominate
            norm = gradient.norm(dim=-1, keepdim=True)  # (N, 1)
            return gradient * (3 * norm.median() / norm.clamp(min=1e-30)).clamp(max=1)

        features = [start]
        for k in range(steps):
            h, z = features[k].split([self.c.hidden, self.c.latent], -1)
            h = self.step(h, z, policy(features[k]))
            prior = self.prior(h, z)
            z = prior.mean + noise * prior.stddev * torch.randn_like(z)
            features.append(torch.cat([h, z], -1))
            if h.requires_grad:
                features[-1].register_hook(clip)
        return torch.stack(features)

    def act(self, features):  # (..., F) -> draw, mode (..., A), a sample of the entropy (...)
        mean, raw = self.actor(features).chunk(2, -1)
        normal = Normal(3 * torch.tanh(mean / 3), 0.3 + torch.sigmoid(raw + 1))
        x = normal.rsample()
        log_det = 2 * (math.log(2) - x - F.softplus(-2 * x))  # of tanh
        return torch.tanh(x), torch.tanh(normal.mean), (log_det - normal.log_prob(x)).sum(-1)

    def behaviour_loss(self, average, start):  # states (N, F) -> loss ()
        dream = average.imagine(start, lambda x: self.act(x)[0], steps=20)  # (K + 1, N, F)
        reward = average.reward(dream[1:]).softmax(-1) @ BINS  # (K, N)
        value = average.critic(dream).softmax(-1) @ BINS  # (K + 1, N)
        discount = 0.99 * average.continuation(dream[1:])[..., 0].sigmoid()  # (K, N)
        returns = [value[-1]]  # R_t = r_(t+1) + gamma_(t+1) ((1 - lambda) v_(t+1) + lambda R_(t+1))
        for t in reversed(range(len(reward))):
            returns.append(reward[t] + discount[t] * torch.lerp(value[t + 1], returns[-1], 0.95))
        returns = torch.stack(returns[:0:-1])  # (K, N)
        low, high = returns.detach().quantile(torch.tensor([0.05, 0.95]))
        gain = returns / (high - low).clamp(min=1) + 1e-2 * self.act(dream[:-1])[2]
        critic = two_hot_loss(self.critic(dream[:-1].detach()), returns.detach())
        weight = torch.cat([torch.ones_like(discount[:1]), discount[:-1].detach()]).cumprod(0)
        return (weight * (critic - gain)).mean()

    def update(self, average, adam, rows, behave):  # -> bits per dimension
        loss, bits = self.model_loss(rows)
        if behave:  # imagines from 128 states; the first h of a sequence are stale
            start = average.observe(rows)[0][:, 5:][~rows.terminal[:, 5:]]
            loss = loss + self.behaviour_loss(average, start[torch.randperm(len(start))[:128]])
        adam.zero_grad()
        loss.backward()
        for part in self.children():
            nn.utils.clip_grad_norm_(part.parameters(), 1 if part is self.actor else 10)
        adam.step()
        for slow, fast in zip(average.parameters(), self.parameters()):
            slow.lerp_(fast.detach(), 0.03 if behave else 1)
        return bits.item()

    @torch.no_grad()
    def play(self, env, explore, random=0):  # yields Rows (N, ...), one a decision
        (n, a), frame = env.action_space.shape, env.reset()[0]
        h, z, action = (torch.zeros(n, size) for size in (self.c.hidden, self.c.latent, a))
        first, ended, terminal, reward = torch.ones(n).bool(), *torch.zeros(2, n).bool(), h[:, 0]
        for k in itertools.count():
            h, z = self.step(h, z, action) * ~first[:, None], self.aef.encode(frame)[0]
            draw, mode, _ = self.act(torch.cat([h, z], -1))
            noise = 0.7 * action * ~first[:, None] + 0.7 * torch.randn_like(action)
            action = noise.clamp(-1, 1) if k < random else torch.lerp(mode, draw, explore)
            yield Rows(frame, reward, first, terminal, action, h)
            frame, reward, terminal, truncated, _ = env.step(action)
            first, ended = ended, terminal | truncated


def sample(replay, c):  # [Rows (N, ...)] -> Rows (B, T, ...), half of them from the newest eighth
    n, starts = len(replay[0].first), len(replay) - c.length + 1
    ends = len(replay) - (starts * torch.rand(c.batch) ** 3).long()
    where = zip(ends.tolist(), torch.randint(n, (c.batch,)).tolist())
    batch = [[torch.stack(x)[:, i] for x in zip(*replay[end - c.length : end])] for end, i in where]
    return Rows(*map(torch.stack, zip(*batch)))


def save_strip(average, rows, path):  # Rows (T, N, ...): what happened above a rollout
    rows = Rows(*(x[:50, :1].transpose(0, 1) for x in rows))  # (1, 50, ...)
    past, actions = average.observe(rows)[0][0, :5], iter(rows.action[0, 4:, None])
    dream = average.imagine(past[-1:], lambda _: next(actions), 50 - len(past), noise=0)[1:, 0]
    dream = average.aef.decode(torch.cat([past, dream])[:, average.c.hidden :])  # (50, C, H, W)
    film = torch.stack([rows.frame[0] / 255, dream.clamp(0, 1)])[:, ::5]  # (2, 10, C, H, W)
    strip = film.permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)  # (2 H, 10 W, C)
    Image.fromarray((255 * strip).byte().numpy()).save(path)


def train(c):  # -> the learning curve [(frames, minutes, mean return)]
    torch.manual_seed(c.seed)
    env = envs.make(c.task, c.num_envs, action_repeat=2, seed=c.seed, autoreset="next_step")
    test = envs.make(c.task, c.eval_episodes, action_repeat=2, seed=2**40, autoreset="next_step")
    agent = Agent(env.single_observation_space.shape, env.single_action_space.shape[0], c)
    average = copy.deepcopy(agent).requires_grad_(False)  # acts and imagines
    rate = {agent.actor: 3e-4}
    groups = [{"params": p.parameters(), "lr": rate.get(p, 8e-4)} for p in agent.children()]
    adam = torch.optim.Adam(groups, betas=(0.9, 0.99))
    explore = (torch.arange(c.num_envs) >= c.num_envs // 4).float()[:, None]
    each, start, updates, curve = 2 * c.num_envs, time.time(), 0, []
    play = average.play(env, explore, random=c.prefill // each)
    replay = list(itertools.islice(play, c.prefill // each))
    agent.aef.mean.copy_(torch.stack([row.frame[0] / 256 for row in replay]).mean(0))
    for frames in range(c.prefill + each, c.frames + 1, each):
        replay.append(next(play))
        while updates < c.pretrain + (frames - c.prefill) // c.frames_per_update:
            bits = agent.update(average, adam, sample(replay, c), behave=updates >= c.pretrain)
            updates += 1
        if frames % c.eval_every < each:
            episodes = itertools.islice(average.play(test, explore=0.0), test.episode_decisions + 1)
            episodes = Rows(*map(torch.stack, zip(*episodes)))  # (T + 1, N, ...)
            score, minutes = episodes.reward.sum(0).mean().item(), (time.time() - start) / 60
            print(f"frames {frames} minutes {minutes:.1f} return {score:.1f} bits/dim {bits:.2f}")
            curve.append((frames, minutes, score))
            save_strip(average, episodes, f"{c.task}.png")
    return curve


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train an agent from pixels.")
    for field in fields(Config):
        name = field.name if field.name == "task" else f"--{field.name.replace('_', '-')}"
        parser.add_argument(name, nargs="?", type=type(field.default), default=field.default)
    train(Config(**vars(parser.parse_args())))
