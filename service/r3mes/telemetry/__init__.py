"""Metrics, traces and log lines: every name is defined once. Only here is OpenTelemetry known."""
