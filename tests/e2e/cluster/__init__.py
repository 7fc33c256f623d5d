"""A real Kubernetes cluster of two nodes on this one Linux machine, for the tests of the chart.

Owns everything such a cluster needs: its programs, certificates, bridges, processes and images.
Knows nothing of R3MES. Runs on the standard library alone, as root.
"""
