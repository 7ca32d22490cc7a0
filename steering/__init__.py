"""What people tell a run: what it waits for, what they answer, checked on its history before it is sent."""
