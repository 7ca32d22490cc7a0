"""The codec server: payloads made readable for the Temporal Web UI and command line."""
