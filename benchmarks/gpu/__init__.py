"""Measures training and inference on a GPU, under Keras's JAX backend, from the folder that gpu_kit.py lays out."""
