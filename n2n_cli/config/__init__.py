"""Configurations: TOML files as frozen dataclasses.

A configuration holds everything that a training depends on except the machine: the network layer by layer, the data and
their noise, the optimiser. Every key is checked when it is read; an error names the file or option, the key, its value
and the allowed values.

config     a whole configuration, and checks of keys that depend on each other
tables     the tables with their keys and defaults
keys       checks of single keys
reading    reading of files, shipped configurations and `--set`
toml_text  writing of TOML
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
