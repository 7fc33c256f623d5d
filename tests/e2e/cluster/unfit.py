"""What tells a machine that cannot carry the cluster from a cluster that failed."""

EXIT_CODE = 77  # as many test programs say that they were skipped


class Unfit(RuntimeError):
    """There can be no cluster here; the message says what is missing."""
