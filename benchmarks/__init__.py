"""Speed, measured side by side: `make bench`, and `make bench-peers` for other simulators. Tests never time anything."""
