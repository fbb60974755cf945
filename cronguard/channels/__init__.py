"""Channels: one small file each."""
