"""Runnable examples, and what they need: a seeded database, a stand-in for a language model."""
