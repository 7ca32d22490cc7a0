"""The HTML around every page, and what it loads."""
