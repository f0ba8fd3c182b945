"""The network: backbones, heads, devices, weights."""
