"""From a model's name and weights to a network whose layers and hops are known."""
