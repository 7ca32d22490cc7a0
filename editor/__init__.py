"""What editors are told of a graph while it is written: problems, meanings, names and places, whole or unfinished."""
