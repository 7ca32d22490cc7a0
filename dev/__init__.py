"""What `anabranch dev` and `anabranch demo` start: a Temporal server, a database, a stand-in for the model."""
