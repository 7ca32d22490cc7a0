"""What assistants may ask of graphs and runs, over the Model Context Protocol: read-only unless more is allowed."""
