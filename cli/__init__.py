"""The `anabranch` command. Thin: parse, call, print."""
