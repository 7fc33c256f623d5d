"""What crosses the HTTP wire: request and response bodies. Knows no engine."""
