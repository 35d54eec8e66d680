"""The configuration that a user edits, as package data."""
