"""Three small services that share one context through Redis: `python -m examples.services` starts them and an order."""
