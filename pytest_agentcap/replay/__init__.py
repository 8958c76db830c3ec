"""Recorded calls served again in a model's place."""
