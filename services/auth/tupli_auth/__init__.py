"""The auth service: people, what they may do, and the tokens that say who is calling."""
