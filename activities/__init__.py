"""What nodes do to the world: one handler per node type, one registry. `node` registers handlers of `python` nodes."""

from anabranch.activities.python import node

__all__ = ["node"]
