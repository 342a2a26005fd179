"""Strangers' files read without danger, and whole files written or none."""
