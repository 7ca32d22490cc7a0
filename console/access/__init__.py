"""Who may use the console: sign-in, tokens, roles, origins, hosts, limits and headers."""
