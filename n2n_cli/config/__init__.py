"""TOML -> frozen dataclasses: defaults, overrides, range checks; and back to TOML.

A configuration says everything that a training depends on but the machine: the network layer by layer, the data and
their noise, the optimiser. Every key is checked when it is read, and an error names the file (or the option), the key,
its value and what it must be.

config     a whole configuration: its tables, the schedule, and what has to go together
tables     the tables, their keys and defaults
keys       what a key may be
reading    from files, from the package, and from the command line
toml_text  plain values -> the text of a TOML file
"""

from n2n_cli.config.config import Config
from n2n_cli.config.reading import load_config, parse_assignment, shipped_configs
from n2n_cli.config.tables import DataConfig, NetworkConfig, TrainConfig

__all__ = [
    "Config",
    "DataConfig",
    "NetworkConfig",
    "TrainConfig",
    "load_config",
    "parse_assignment",
    "shipped_configs",
]
