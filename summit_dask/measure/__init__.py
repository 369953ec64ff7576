"""Runs a network over a batch of images and measures it."""
