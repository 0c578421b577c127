"""Compiled networks with a module's methods, to compare with plain networks."""

from __future__ import annotations

from n2n_cli import engine
from n2n_cli.engine.executor import Executor
from n2n_cli.engine.kernel import Kernel
from n2n_cli.engine.replica import Replica
from n2n_cli.nn import Module, Sequential
from n2n_cli.nn.functional import Array


class Compiled:
    """A network's kernel together with the network's parameters."""

    def __init__(self, network: Module) -> None:
        self.network, self.kernel = network, engine.kernel_of(network)
        self.param, self.zero_grad, self.output_shape = network.param, network.zero_grad, network.output_shape
        self.load_state_dict, self.state_dict = network.load_state_dict, network.state_dict
        self.backward, self.accumulate = self.kernel.backward, self.kernel.accumulate

    def __call__(self, x: Array) -> Array:
        return self.kernel(x)

    def eval(self) -> Compiled:
        self.kernel.train(False)
        return self

    def train(self) -> Compiled:
        self.kernel.train(True)
        return self


def compiled(*modules: Module) -> Compiled:
    """Compile a Sequential of modules."""
    return Compiled(Sequential(*modules))


def replica_of(network: Module, *, training: bool = True, **options: int) -> Replica:
    """One thread's copy of a network."""
    parameters = [parameter for _, parameter in network.named_parameters()]
    replica = Replica(engine.kernel_of(network), parameters, **options)
    replica.follow(parameters, training=training)
    return replica


def follow(replica: Replica, network: Module, *, training: bool = True) -> None:
    """Copy the network's weights to a replica."""
    replica.follow([parameter for _, parameter in network.named_parameters()], training=training)


def executor_of(kernel: Kernel, *networks: Module, threads: int = 1) -> Executor:
    """Executor of a kernel that uses the parameters of the given networks."""
    parameters = [parameter for network in networks for _, parameter in network.named_parameters()]
    return Executor(kernel, parameters, threads=threads)
