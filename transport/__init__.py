"""How values cross process borders: wire types, payload converter, codec, client, embedded dev server."""
