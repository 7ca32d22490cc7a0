"""What every user of a SQL database shares."""
