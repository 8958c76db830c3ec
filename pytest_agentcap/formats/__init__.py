"""Conversations in the formats of trainers, viewers and other tools."""
