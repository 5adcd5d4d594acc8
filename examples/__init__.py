"""Examples that run: each is used by the tests as it stands."""
