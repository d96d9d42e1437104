"""Which agents there are: `agent=NAME` to what learns and what plays."""

import dataclasses

import torch

from aef_worldmodel.errors import UserError
from aef_worldmodel.persistence import Checkpoint, load_weights
from agents.agent import Agent
from agents.config import AgentConfig, TrainConfig
from agents.evolution import CmaAgent, EvolutionConfig
from agents.imagination import ImaginationAgent, ImaginationConfig
from agents.learner import Learner
from agents.model_learner import ModelLearner
from agents.planner import Planner, PlannerConfig
from agents.policy import ActorPolicy, Policy
from agents.sb3 import PpoAgent, PpoConfig, SacAgent, SacConfig
from agents.scripted import Floor, RandomConfig, ScriptedConfig
from agents.words import agent_name


def make_learner(
    config: TrainConfig, shape: tuple[int, ...], action_dim: int, discrete: bool = False,
    kind: type[Learner] = Learner,
) -> Learner:
    """What a run learns with: world model of frames (C, H, W), and an agent of A actions, or of
    one choice among A if `discrete`; `kind` is the learner of agents with an actor and a critic.

    Raises UserError if the agent cannot choose, or there is no such world model of such frames.
    """
    agent = config.agent
    if isinstance(agent, PlannerConfig) and needs_actor_critic(agent):
        agent = agent.imagination
    if isinstance(agent, ImaginationConfig):
        return kind(dataclasses.replace(config, agent=agent), shape, action_dim, discrete)
    beside = _make_agent(config, action_dim, discrete)
    return ModelLearner(config, shape, action_dim, beside)


def needs_actor_critic(config: PlannerConfig) -> bool:
    """Whether plans read an actor or a critic; otherwise the world model is all there is to learn,
    as in PlaNet."""
    return bool(config.proposals or config.bootstrap)


def _make_agent(config: TrainConfig, action_dim: int, discrete: bool) -> Agent:
    """What learns beside the world model."""
    agent, model, device = config.agent, config.world_model, torch.device(config.hardware.device)
    features = model.recurrent_dim + model.latent_dim
    if isinstance(agent, SacConfig):
        if discrete:
            raise UserError("agent=sac cannot choose among discrete actions: give agent=ppo")
        rows = config.batch * (config.length - 1)
        return SacAgent(agent, features, action_dim, rows, device)
    if isinstance(agent, PpoConfig):
        worlds = config.hardware.num_envs
        return PpoAgent(agent, features, action_dim, worlds, device, discrete)
    if isinstance(agent, EvolutionConfig):
        widths = model.recurrent_dim, model.latent_dim, action_dim
        return CmaAgent(agent, widths, config.seed, device, discrete)
    return Floor(
        RandomConfig() if isinstance(agent, PlannerConfig) else agent, action_dim, discrete
    )


def make_policy(
    config: AgentConfig, learner: Learner, explore: bool, discrete: bool = False
) -> Policy:
    """What plays: training if `explore`, evaluations if not.

    Raises UserError if what was learnt cannot play so.
    """
    if isinstance(config, RandomConfig | ScriptedConfig):
        return Floor(config, learner.model.action_dim, discrete).policy(explore)
    learnt = learner.agent if isinstance(learner.agent, ImaginationAgent) else None
    if isinstance(config, PlannerConfig):
        if not learnt and needs_actor_critic(config):
            raise UserError(
                "this run has no actor and no critic to plan with: give agent.proposals=0 and "
                "agent.bootstrap=false, to plan by the learned rewards alone"
            )
        return Planner(config, learner.model, learnt, explore, discrete)
    if isinstance(config, ImaginationConfig) and learnt:
        return ActorPolicy(learnt.actor, learnt.slow_actor, explore, config.quiet_worlds)
    if type(config) is type(learner.config.agent):
        return learner.agent.policy(explore)
    raise UserError(
        f"agent={agent_name(type(config))} cannot play a run of "
        f"agent={agent_name(type(learner.config.agent))}: mpc, random and scripted can play any"
    )


def load_weights_of(learner: Learner, found: Checkpoint) -> None:
    """Weights of a run's checkpoint, for playing: no optimisers, no random numbers.

    Raises UserError for another architecture.
    """
    state = found.state["learner"]
    load_weights(learner.model, state["model"], found.path)
    if isinstance(learner.agent, ImaginationAgent):
        load_weights(learner.agent, state["agent"], found.path)
    else:
        learner.agent.load_state_dict(state["agent"], found.path)
