"""Speed, measured side by side: `make bench`; other simulators: `make bench-peers`. Tests never time anything."""
