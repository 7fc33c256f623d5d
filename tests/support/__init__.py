"""Fakes and fixtures that more than one test uses."""
