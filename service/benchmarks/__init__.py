"""Programs that measure R3MES beside other servers and under abuse. Not part of the package."""
