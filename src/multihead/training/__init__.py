"""Shard by shard: fit, validate, save, go on."""
