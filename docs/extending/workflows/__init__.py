"""The workflows of the shop."""
